use crate::cli::Cli;
use crate::failure::Failure;
/// x
pub async fn run(_cli: Cli) -> Result<u8, Vec<Failure>> {
    Ok(0)
}
