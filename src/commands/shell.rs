//! `slicer-k3s shell VM`.

use super::{passed_on, vm};
use crate::cli::{Global, Shell};
use crate::failure::Failures;

/// Runs it; the shell's exit code is ours.
pub(super) async fn run(global: &Global, options: &Shell) -> Result<u8, Failures> {
    let Some(settings) = passed_on::settings(global) else {
        return Ok(passed_on::OURS);
    };
    let config = settings.config.clone();
    let code = match vm::reach(global, config, &options.vm).await {
        Ok((context, vm)) => passed_on::until_stopped(vm.shell(&context)).await,
        Err(failures) => passed_on::or_ours(Err(failures)),
    };
    settings.name_mistakes();
    Ok(code)
}
