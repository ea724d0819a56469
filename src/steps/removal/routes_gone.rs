//! A host keeps no routes for the cluster any more; where it keeps none at all, the keeper is gone, too.

use async_trait::async_trait;

use crate::deletion::DeletablePath;
use crate::failure::Result;
use crate::generate::{
    FORMER_ROUTES_UNIT, ROUTES_SCRIPT, ROUTES_UNIT, TABLES, routes_path, unit_path,
};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::remote::Script;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct RoutesGone {
    host: String,
}

impl RoutesGone {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
        }
    }
}

/// Where the table lies, and where it lies while its routes are being deleted: a killed run leaves it for the next.
fn tables(cluster: &str) -> [String; 2] {
    [
        routes_path(cluster),
        format!("/etc/slicer-k3s/withdrawn.{cluster}"),
    ]
}

/// The keeper must not put back what we delete, so it begins anew without the table, or ends where none is left.
const WITHDRAW: &str = "set -e; t={}; w={}; k={}; a={}
if [ -f \"$t\" ]; then mv -f -- \"$t\" \"$w\"; fi
left=; for f in \"$a\"/*; do if [ -f \"$f\" ]; then left=yes; fi; done
for u in {} {}; do
  n=${u##*/}
  if [ ! -f \"$u\" ] || ! grep -q 'Written by slicer-k3s' \"$u\"; then continue; fi
  if [ \"$left\" ]; then systemctl restart \"$n\"; continue; fi
  systemctl -q disable \"$n\"; systemctl stop \"$n\"; rm -f -- \"$u\"
  if [ -f \"$u.before-slicer-k3s\" ]; then mv -f -- \"$u.before-slicer-k3s\" \"$u\"; fi
  systemctl daemon-reload
  if [ -f \"$u\" ]; then systemctl -q enable \"$n\"; fi
done
if [ -z \"$left\" ]; then rm -f -- \"$k\"; fi
if [ -f \"$w\" ]; then
  while read -r cidr via; do ip -4 route delete \"$cidr\" via \"$via\" 2>/dev/null || true; done <\"$w\"
  rm -f -- \"$w\"
fi";

#[async_trait]
impl Step<World> for RoutesGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::RoutesGone.on(&self.host),
            format!("Withdraw the routes on {}", self.host),
            format!("on {}: ip route; ls {TABLES}", self.host),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        for table in tables(&world.plan.cluster) {
            if host.read(&table).await?.is_some() {
                return Ok(Finding::differs(format!("{table} is there")));
            }
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let cluster = &world.plan.cluster;
        let [table, withdrawn] = tables(cluster);
        let table = DeletablePath::of_cluster(cluster, &table)?;
        let withdrawn = DeletablePath::of_cluster(cluster, &withdrawn)?;
        let [unit, former] = [ROUTES_UNIT, FORMER_ROUTES_UNIT].map(unit_path);
        let words = [
            table.as_str(),
            withdrawn.as_str(),
            ROUTES_SCRIPT,
            TABLES,
            &unit,
            &former,
        ];
        let script = Script::new(WITHDRAW, &words);
        let host = world.host(&self.host)?;
        host.must(permit, "withdrawing the routes", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a killed run had begun to write counted as another cluster's table, and the keeper stayed for ever.
    #[test]
    fn the_keeper_goes_with_the_last_table_and_a_persons_own_unit_stays() {
        for (file, stays) in [("a", true), (".slicer-k3s.Ab12Cd", false)] {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name).display().to_string();
            fs_err::create_dir(at("tables")).unwrap();
            for (name, text) in [
                (format!("tables/{file}"), ""),
                ("keep".into(), ""),
                ("new".into(), "# Written by slicer-k3s."),
                ("old".into(), "# Written by hand."),
            ] {
                fs_err::write(at(&name), text).unwrap();
            }
            let words = ["table", "withdrawn", "keep", "tables", "new", "old"].map(at);
            let script = Script::new(WITHDRAW, &words.each_ref().map(String::as_str));
            let text = format!("systemctl() {{ :; }}\n{}", script.text());
            let mut shell = std::process::Command::new("sh");
            assert!(shell.args(["-c", &text]).status().unwrap().success());
            for name in ["keep", "new"] {
                assert_eq!(std::path::Path::new(&at(name)).exists(), stays, "{name}");
            }
            assert!(std::path::Path::new(&at("old")).exists());
        }
    }
}
