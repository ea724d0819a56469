//! Commands whose exit code is that of what they run: their own failures have one that no such thing has.

use super::context::Settings;
use crate::cli::{Global, Output};
use crate::failure::{Failures, Result};
use crate::report;
use crate::stop::{self, Requests};

/// Exit code of our own failures.
pub(super) const OURS: u8 = 125;

/// What the command goes by; `None` where there is nothing to go by, which is reported.
pub(super) fn settings(global: &Global) -> Option<Settings> {
    match Settings::read(global) {
        Ok(settings) => Some(settings),
        Err(failures) => {
            report::failures(&failures, Output::Human);
            None
        }
    }
}

/// An exit status as ours.
pub(super) fn code(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(OURS)
}

/// The code that was passed on; failures are told and have ours.
pub(super) fn or_ours(result: Result<u8, Failures>) -> u8 {
    result.unwrap_or_else(|failures| {
        // What is run owns stdout: there is no event stream.
        report::failures(&failures, Output::Human);
        OURS
    })
}

/// Waits for the end of what is run. Whoever follows a log stops with Ctrl-C, and nothing has gone wrong then. What is asked on
/// the way there is not part of `work`: a run that ends at a question says so.
pub(super) async fn until_stopped(work: impl Future<Output = Result<i32>>) -> u8 {
    let _mine = stop::answer_myself().await;
    let mut requests = Requests::listen();
    tokio::select! {
        result = work => or_ours(result.map(code).map_err(Failures::from)),
        request = requests.next() => request.exit_code(),
    }
}
