//! What keeps a server's k3s from being ready, by its journal.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Result;
use crate::k3s::{Told, texts, told};
use crate::names::k3s::{TOMBSTONE_PATH, UNIT};
use crate::remote::{Machine, Probe};
use crate::steps::support::unit::Unit;

/// While one start goes on, its journal is read again after this time: that costs more than asking its API.
const AGAIN: Duration = Duration::from_secs(3);

/// How many lines are looked through: a server that starts writes hundreds.
const LINES: u32 = 3000;

/// What the journal told last.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<Option<(Instant, Unit, Option<Told>)>>);

impl Troubles {
    /// What k3s says of why it ended or what it waits for; systemd's word where it ended without one.
    pub(crate) async fn of(&self, machine: &Machine, unit: &Unit) -> Result<Option<Told>> {
        if let Some((when, known, said)) = &*self.known()
            && known == unit
            && when.elapsed() < AGAIN
        {
            return Ok(said.clone());
        }
        let starts = unit.starts(machine, UNIT, LINES, texts()).await?;
        let said = told(&starts).filter(|told| told.ended || !unit.has_failed());
        let said = said.or_else(|| {
            Some(Told {
                ended: true,
                words: unit.end()?,
                trouble: None,
            })
        });
        *self.known() = Some((Instant::now(), unit.clone(), said.clone()));
        Ok(said)
    }

    /// What was read before says nothing of what comes.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Unit, Option<Told>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server was taken out of the cluster's etcd while its k3s ran, which goes on without it.
pub(crate) async fn is_removed(machine: &Machine) -> Result<bool> {
    let probe = Probe::FileFacts(TOMBSTONE_PATH.to_owned());
    let facts = machine.probe(&probe).await?;
    Ok(facts.ok() && !facts.stdout.trim().is_empty())
}
