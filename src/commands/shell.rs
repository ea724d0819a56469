//! `slicer-k3s shell VM`.

use super::{one, passed_on, vm};
use crate::cli::{Global, Shell};
use crate::failure::Failure;

/// Runs it; the shell's exit code is ours.
pub(super) async fn run(global: &Global, options: &Shell) -> Result<u8, Vec<Failure>> {
    let Some(settings) = passed_on::settings(global) else {
        return Ok(passed_on::OURS);
    };
    let work = async {
        let config = settings.config.clone();
        let (context, vm) = vm::reach(global, config, &options.vm).await?;
        vm.shell(&context).await.map_err(one)
    };
    let code = passed_on::until_stopped(work).await;
    settings.name_mistakes();
    Ok(code)
}
