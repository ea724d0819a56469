//! `slicer-k3s exec VM COMMAND…`.

use super::{one, passed_on, vm};
use crate::cli::{Exec, Global};
use crate::failure::Failure;

/// Runs it; the command's exit code is ours.
pub(super) async fn run(global: &Global, options: &Exec) -> Result<u8, Vec<Failure>> {
    let work = async {
        let (context, vm) = vm::reach(global, &options.vm).await?;
        vm.exec(&context, &options.command).await.map_err(one)
    };
    Ok(passed_on::until_stopped(work).await)
}
