//! What machines hold, each thing with its state, so that whoever must not be touched can be seen not to be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::Trial;

/// What to look at.
pub(crate) struct Look {
    /// Prints a line for each thing: its state, a space, the thing.
    pub(crate) script: &'static str,
    /// A machine that tells of fewer things has not been looked at.
    pub(crate) least: usize,
}

/// What nobody else's run may touch: files by hash (VMs' disks are their own business), units by start. What the others
/// must learn, their routes to new VMs, is not among it.
pub(crate) const FILES_AND_UNITS: Look = Look {
    script: "find /etc /usr/local /var/lib/slicer-k3s -xdev -type f ! -path '/etc/slicer-k3s/routes.d/*' ! -path '/etc/slicer-k3s/last-run.d/*' -size -100M -exec sha256sum {} + 2>/dev/null
for u in $(systemctl list-units --plain --no-legend --type=service 'slicer-*' 'k3s*' | cut -d' ' -f1); do
echo \"$(systemctl show -p MainPID,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic --value $u | tr '\\n' ,) $u\"; done",
    least: 10,
};

/// By machine: lines of a state and the thing that is in it.
pub(crate) struct Prints(BTreeMap<String, BTreeSet<String>>);

impl Prints {
    /// What a look as root shows on each of these machines.
    pub(crate) fn of(trial: &Trial, machines: &[&str], look: &Look) -> Result<Self> {
        let mut found = BTreeMap::new();
        for machine in machines {
            let done = trial.root(machine, look.script)?;
            let lines: BTreeSet<String> = done.stdout.lines().map(str::to_owned).collect();
            if lines.len() < look.least {
                bail!("{machine} tells of {} things only", lines.len());
            }
            found.insert((*machine).to_owned(), lines);
        }
        Ok(Self(found))
    }

    /// What is there `after` and was not, or not so, and what is gone.
    pub(crate) fn touched(&self, after: &Self) -> BTreeSet<String> {
        let name = |line: &str| {
            let thing = line.split_once(' ').map_or(line, |(_, thing)| thing);
            thing.trim().to_owned()
        };
        let none = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for (machine, lines) in &after.0 {
            let old = self.0.get(machine).unwrap_or(&none);
            let other = lines.symmetric_difference(old);
            touched.extend(other.map(|line| format!("{machine}: {}", name(line))));
        }
        touched
    }

    /// The same, where nothing may be.
    pub(crate) fn untouched(&self, after: &Self) -> Result<()> {
        let touched = self.touched(after);
        if touched.is_empty() {
            return Ok(());
        }
        bail!("touched: {touched:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_and_a_restarted_unit_are_told_once() {
        let prints = |lines: &[&str]| {
            Prints(BTreeMap::from([(
                "n100".to_owned(),
                lines.iter().map(|line| (*line).to_owned()).collect(),
            )]))
        };
        let before = prints(&["abc  /etc/x", "12 k3s.service", "7 slicer-k3s-cp.service"]);
        let after = prints(&["abd  /etc/x", "12 k3s.service", "9 slicer-k3s-cp.service"]);
        let told: Vec<String> = before.touched(&after).into_iter().collect();
        assert_eq!(told, ["n100: /etc/x", "n100: slicer-k3s-cp.service"]);
        assert!(before.touched(&before).is_empty());
        assert!(before.untouched(&after).is_err());
    }
}
