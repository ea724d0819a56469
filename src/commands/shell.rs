//! `slicer-k3s shell VM`.

use super::{one, passed_on, vm};
use crate::cli::{Global, Shell};
use crate::failure::Failure;

/// Runs it; the shell's exit code is ours.
pub(super) async fn run(global: &Global, options: &Shell) -> Result<u8, Vec<Failure>> {
    let work = async {
        let (context, vm) = vm::reach(global, &options.vm).await?;
        vm.shell(&context).await.map_err(one)
    };
    Ok(passed_on::until_stopped(work).await)
}
