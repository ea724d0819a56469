//! The autoscaler's cloud-config lies in the cluster, with the groups that are fit for it and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::generate::NodeGroup;
use crate::k3s::api_url;
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::{CLOUD_CONFIG_KEY, CLOUD_CONFIG_SECRET, NAMESPACE};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Plan;
use crate::secret::sha256;
use crate::step_id::{StepId, StepName};
use crate::steps::autoscaler::parts::unreached_groups;
use crate::steps::support::diff;
use crate::steps::support::run_context::RunContext;
use crate::world::World;

pub(crate) struct CloudConfig {
    needs: Vec<StepId>,
    after: Vec<StepId>,
    seen: Arc<RunContext>,
}

impl CloudConfig {
    pub(crate) fn new(plan: &Plan, seen: &Arc<RunContext>) -> Self {
        let groups = plan.workers().map(|daemon| daemon.group.as_str());
        Self {
            needs: crate::steps::server::api_ready::needed(plan),
            after: groups
                .flat_map(|group| {
                    [
                        StepName::K3sTokenSecret.on(group),
                        StepName::GroupReachable.on(group),
                    ]
                })
                .collect(),
            seen: Arc::clone(seen),
        }
    }

    /// The file for the groups that are fit now: one that cannot be reached would keep the autoscaler from starting. What it
    /// has on a host that only this workstation does not reach stays.
    async fn wanted(&self, world: &World) -> Result<String> {
        let server =
            world.plan.servers.first().ok_or_else(|| {
                Failure::new(Code::Kubernetes, "no server in the plan").permanent()
            })?;
        let mut groups = Vec::new();
        for daemon in world.plan.workers() {
            if self.seen.eligible_for_autoscaler(&daemon.group) {
                groups.push(NodeGroup {
                    name: daemon.group.clone(),
                    url: daemon.url(),
                    token: world.slicer(daemon).await?.token,
                    min: daemon.min,
                    max: daemon.max,
                });
            }
        }
        if !world.plan.away.is_empty() {
            let file = current(&world.kubernetes().await?).await?;
            let file = file.unwrap_or_default();
            let file = String::from_utf8_lossy(&file);
            let kept = unreached_groups::groups(world, &file).await?;
            groups = unreached_groups::in_order(groups, kept, &file);
        }
        let token = crate::steps::group::k3s_token_secret::token(world).await?;
        generate::cloud_config(&api_url(server), &token, &groups)
    }
}

/// The lines that may be shown: sections, addresses and sizes. Of all else only the key is.
fn without_secrets(file: &str) -> String {
    file.lines().fold(String::new(), |mut shown, line| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let key = if key.contains(['#', ';']) { "" } else { key };
        let open = key.ends_with("-size") || key.ends_with("-url") || line.starts_with('[');
        if open || line.trim().is_empty() {
            shown.push_str(line);
        } else {
            shown.push_str(key);
            shown.push_str("=(not shown)");
        }
        shown.push('\n');
        shown
    })
}

/// The sections of a file, each with its lines, by their heading.
fn sections(file: &str) -> BTreeMap<&str, Vec<&str>> {
    let (mut sections, mut heading) = (BTreeMap::<_, Vec<_>>::new(), "");
    for line in file.lines().map(str::trim) {
        if line.starts_with('[') {
            heading = line.trim_matches(['[', ']']);
            sections.entry(heading).or_default();
        } else if !line.is_empty() {
            sections.entry(heading).or_default().push(line);
        }
    }
    sections
}

/// Which sections are not as they should be, and in which keys; no value, for some are secret.
fn why(current: &str, wanted: &str) -> String {
    let (current, wanted) = (sections(current), sections(wanted));
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let mut told = Vec::new();
    for (heading, lines) in &wanted {
        let Some(now) = current.get(heading) else {
            told.push(format!("{heading} is missing"));
            continue;
        };
        let keys: BTreeSet<String> = lines
            .iter()
            .filter(|line| !now.contains(line))
            .map(|line| key(line))
            .collect();
        if !keys.is_empty() {
            let keys: Vec<String> = keys.into_iter().collect();
            told.push(format!("{heading} has another {}", keys.join(", ")));
        }
    }
    let more = current
        .keys()
        .filter(|heading| !wanted.contains_key(*heading));
    told.extend(more.map(|heading| format!("{heading} is one too many")));
    if told.is_empty() {
        return "the autoscaler's cloud-config was written by somebody else".into();
    }
    format!("the autoscaler's cloud-config: {}", told.join("; "))
}

/// The file as the cluster has it.
pub(crate) async fn current(kubernetes: &Kubernetes) -> Result<Option<Vec<u8>>> {
    let secret = kubernetes
        .get(&["secret", "-n", NAMESPACE, CLOUD_CONFIG_SECRET])
        .await?;
    Ok(secret
        .as_ref()
        .and_then(|secret| secret["data"][CLOUD_CONFIG_KEY].as_str())
        .and_then(|data| STANDARD.decode(data).ok()))
}

/// The groups that the autoscaler's cloud-config names; none where the cluster has none.
pub async fn groups(kubernetes: &Kubernetes) -> Result<Vec<String>> {
    let file = current(kubernetes).await?.unwrap_or_default();
    Ok(generate::named_groups(&String::from_utf8_lossy(&file)))
}

/// The hash that the autoscaler's pod must carry to have read the file as it is.
pub(crate) async fn current_hash(kubernetes: &Kubernetes) -> Result<Option<String>> {
    Ok(current(kubernetes).await?.map(|file| sha256(&file)))
}

/// The groups that the autoscaler has now.
pub async fn enrolled_groups(world: &World) -> Result<BTreeSet<String>> {
    let kubernetes = world.kubernetes().await?;
    let file = current(&kubernetes).await?;
    let file = file.unwrap_or_default();
    let names = generate::named_groups(&String::from_utf8_lossy(&file));
    Ok(names.into_iter().collect())
}

#[async_trait]
impl Step<World> for CloudConfig {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::CloudConfig.on_cluster(),
            "Write the autoscaler's cloud-config",
            format!("slicer-k3s kubectl describe secret -n {NAMESPACE} {CLOUD_CONFIG_SECRET}"),
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let Some(current) = current(&kubernetes).await? else {
            return Ok(Finding::differs("the cluster has none"));
        };
        let wanted = self.wanted(world).await?;
        Ok(if current == wanted.as_bytes() {
            Finding::done()
        } else {
            Finding::differs(why(&String::from_utf8_lossy(&current), &wanted))
        })
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let old = current(&world.kubernetes().await?).await?;
        let old = old.map(|file| without_secrets(&String::from_utf8_lossy(&file)));
        let new = without_secrets(&self.wanted(world).await?);
        let name = format!("secret {NAMESPACE}/{CLOUD_CONFIG_SECRET}");
        Ok(diff::unified(&name, old.as_deref(), &new))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let secret = generate::cloud_config_secret(&self.wanted(world).await?);
        world.kubernetes().await?.apply(permit, &secret).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    const CACERTS: &str = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";

    #[test]
    fn tokens_are_left_out_of_what_is_shown() {
        let shown = without_secrets("[global]\nk3s-token=\"K10x\"\nmin-size = 1\n; note s3cret\n");
        assert!(shown.contains("min-size = 1") && shown.contains("k3s-token=(not shown)"));
        assert!(!shown.contains("s3cret"));
        assert!(!without_secrets("# s3cret-size=1\n").contains("s3cret"));
    }

    #[test]
    fn what_differs_is_named_without_values() {
        let wanted = "[global]\nk3s-token=\"K10x\"\n\n[nodegroup \"a\"]\nslicer-token=\"t1\"\nmax-size=\"4\"\n\n[nodegroup \"b\"]\n";
        let current = "[global]\nk3s-token=\"K10x\"\n[nodegroup \"a\"]\nslicer-token=\"t0\"\nmax-size=\"4\"\n[nodegroup \"c\"]\n";
        assert_eq!(
            why(current, wanted),
            "the autoscaler's cloud-config: nodegroup \"a\" has another slicer-token; nodegroup \"b\" is missing; \
             nodegroup \"c\" is one too many"
        );
        assert!(why(&format!("{wanted}; note\n"), wanted).contains("somebody else"));
        assert!(why("", wanted).contains("global is missing"));
    }

    #[test]
    fn the_groups_of_a_file_are_read() {
        let file = "[global]\nk3s-token=\"K10x\"\n\n[nodegroup \"a-1\"]\nmax-size=\"4\"\n [nodegroup \"b\"]\n";
        assert_eq!(generate::named_groups(file), ["a-1", "b"]);
        assert!(generate::named_groups("").is_empty());
    }

    /// A run from behind a VPN took a live group from the autoscaler, and its agents stayed for ever.
    #[tokio::test]
    async fn a_group_that_only_this_workstation_does_not_reach_stays_as_it_is() {
        let group = |name: &str, cidr: u8| NodeGroup {
            name: name.into(),
            url: format!("http://192.168.{cidr}.1:8082"),
            token: crate::secret::Secret::new("t0ken"),
            min: 0,
            max: 4,
        };
        let all = [group("k3s-agents-1", 138), group("k3s-agents-2", 139)];
        let url = "https://192.168.137.2:6443";
        let token = crate::secret::Secret::new("K");
        let file = |groups: &[NodeGroup]| generate::cloud_config(url, &token, groups).unwrap();
        let secret = generate::cloud_config_secret(&file(&all)).to_string();
        for (said, kept) in [("401", true), ("000", false)] {
            let server = Fake::new()
                .says("cacerts", CACERTS)
                .says("http_code", said)
                .says(CLOUD_CONFIG_SECRET, &secret);
            let host = Fake::new().says("auth/token", "t0ken\n");
            let servers = ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"].map(|name| (name, &server));
            let mut world = world(&[servers.as_slice(), &[("n100", &host)]].concat());
            let gone = world.plan.daemons.remove(1);
            world.plan.away = vec![crate::plan::OfflineHost {
                host: gone.host.clone(),
                lan_address: [192, 168, 1, 12].into(),
                behind: None,
                cidrs: vec![gone.cidr],
            }];
            let seen = Arc::new(RunContext::default());
            let other = world.plan.workers().next().unwrap().group.clone();
            seen.has_join_token(&other);
            seen.reachable(&other);
            let step = CloudConfig::new(&world.plan, &seen);
            let wanted = step.wanted(&world).await.unwrap();
            let names = generate::named_groups(&wanted);
            assert!(names.contains(&other), "{wanted}");
            assert_eq!(names.contains(&gone.group), kept, "{wanted}");
            if kept {
                let there = generate::node_groups(&wanted);
                let same = |name: &String| there.iter().find(|it| it.name == *name).cloned();
                assert_eq!(
                    same(&gone.group),
                    all.iter().find(|it| it.name == gone.group).cloned()
                );
            }
        }
    }

    #[tokio::test]
    async fn only_fit_groups_are_in_it() {
        let server = Fake::new().says("cacerts", CACERTS);
        let host = Fake::new().says("auth/token", "t0ken\n");
        let world = world(&[("k3s-cp-1", &server), ("n100", &host), ("ryzen", &host)]);
        let seen = Arc::new(RunContext::default());
        let step = CloudConfig::new(&plan(), &seen);
        assert_eq!(
            step.wanted(&world).await.unwrap_err().code,
            Code::Autoscaler
        );
        seen.has_join_token("k3s-agents-2");
        seen.reachable("k3s-agents-2");
        seen.has_join_token("k3s-agents-1");
        let file = step.wanted(&world).await.unwrap();
        assert!(file.contains("[nodegroup \"k3s-agents-2\"]") && !file.contains("k3s-agents-1"));
        assert!(
            file.contains("slicer-url=\"http://192.168.139.1:8082\""),
            "{file}"
        );
    }
}
