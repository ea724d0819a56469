//! The Internet of a lab fleet in one program: DNS, HTTPS downloads, a chart repository and an
//! image registry for the handful of names that a bootstrap really asks for, so that it runs its
//! unmodified default paths in namespaces that nothing leaves.

mod addresses;
mod certificates;
mod content;
mod digest;
mod dns;
mod faults;
mod images;
mod journal;
mod names;
mod pump;
mod serve;
mod sites;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "The Internet of a lab fleet", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer for every name until killed.
    Serve(serve::Options),
    /// Make the lab's certificate authority, unless it is there already.
    Ca {
        /// Where ca.pem and ca.key (0600) belong.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Make the OCI layout that the registry serves.
    Images(images::Options),
    /// Print the names answered for, one a line.
    Names {
        /// Print addresses too, as a hosts file.
        #[arg(long)]
        addresses: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Serve(options) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(serve::run(options)),
        Command::Ca { dir } => certificates::Authority::ensure(&dir).map(|_| ()),
        Command::Images(options) => images::run(&options),
        Command::Names { addresses } => {
            let mut out = std::io::stdout().lock();
            for (index, name) in names::NAMES.iter().enumerate() {
                if addresses {
                    write!(out, "{} ", names::address(names::FIRST, index))?;
                }
                writeln!(out, "{}", name.host)?;
            }
            Ok(())
        }
    }
}
