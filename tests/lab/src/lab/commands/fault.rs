//! `lab fault`: break something on purpose.

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::{Fault, Proxy};
use crate::fault;
use crate::proxy::{Treatment, serve};
use crate::state::State;

/// Makes, lists or clears faults.
pub(crate) fn run(options: &Fault) -> Result<ExitCode> {
    let fleet = State::choose(options.fleet.as_deref())?;
    fault::make(&fleet, &options.kind)?;
    Ok(ExitCode::SUCCESS)
}

/// Is the proxy that some faults put before an SSH server.
pub(crate) fn proxy(options: &Proxy) -> Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, options.port))
        .with_context(|| format!("port {} is taken", options.port))?;
    let how = Treatment {
        delay: Duration::from_millis(options.delay_ms),
        reset_after: options.reset_after_ms.map(Duration::from_millis),
    };
    serve(&listener, (Ipv4Addr::LOCALHOST, 22), how)?;
    Ok(ExitCode::SUCCESS)
}
