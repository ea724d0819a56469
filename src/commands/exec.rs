//! `slicer-k3s exec VM COMMAND…`.

use super::{one, passed_on, vm};
use crate::cli::{Exec, Global};
use crate::failure::Failure;

/// Runs it; the command's exit code is ours.
pub(super) async fn run(global: &Global, options: &Exec) -> Result<u8, Vec<Failure>> {
    let Some(settings) = passed_on::settings(global) else {
        return Ok(passed_on::OURS);
    };
    let work = async {
        let config = settings.config.clone();
        let (context, vm) = vm::reach(global, config, &options.vm).await?;
        vm.exec(&context, &options.command).await.map_err(one)
    };
    let code = passed_on::until_stopped(work).await;
    settings.name_mistakes();
    Ok(code)
}
