//! A server VM through Slicer's agent: what its k3s was told, and who may log in. No key of ours is needed for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Slicer, exec};
use crate::failure::{Code, Failure, Result};
use crate::k3s;
use crate::pipeline::Hands;
use crate::remote::{Output, Script};
use crate::secret::Secret;

/// What a server's k3s was told, as it lies on the server; empty texts where there is nothing.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// k3s's config.yaml, tokens included.
    pub config: Secret,
    /// The words of its unit after `k3s server`.
    pub arguments: Vec<String>,
    /// The token that its data is encrypted with, in its full form.
    pub token: Secret,
    /// The token that agents join by, in its full form.
    pub agent_token: Secret,
    /// Whether Secrets are encrypted in etcd.
    pub encrypts: bool,
    /// Its version of k3s, as its program prints it.
    pub version: String,
    /// Helm's record of the autoscaler's release, as JSON, where no HelmChart says how it was installed.
    pub release: Secret,
    /// The autoscaler's HelmChart object, as JSON.
    pub chart: String,
    /// The autoscaler's cloud-config, tokens included.
    pub cloud_config: Secret,
    /// What its k3s holds, as `Look::ServerData` prints it.
    pub data: String,
}

/// The script of `Look::ServerData`.
const DATA: &str = include_str!("../remote/server_data.sh");

/// Each part's lines begin with a blank, so that none can pass for a heading. The API is asked without kubectl, which takes
/// ten times as long to start.
const LOOK: &str = r#"p() { echo "== $1"; sed 's/^/ /'; echo; }
s=/var/lib/rancher/k3s/server t=$s/tls
k() { curl -sf -m 8 --cacert $t/server-ca.crt --cert $t/client-admin.crt --key $t/client-admin.key \
    "https://127.0.0.1:6443$1/namespaces/kube-system/$2"; }
cat /etc/rancher/k3s/config.yaml 2>/dev/null | p config
cat /etc/systemd/system/k3s.service 2>/dev/null | p unit
cat $s/token 2>/dev/null | p token
cat $s/agent-token 2>/dev/null | p agent-token
ls $s/cred/encryption-config.json 2>/dev/null | p encryption
/usr/local/bin/k3s --version 2>/dev/null | p version
chart=$(k /apis/helm.cattle.io/v1 helmcharts/slicer-cluster-autoscaler)
echo "$chart" | p chart
[ -n "$chart" ] || k /api/v1 'secrets?labelSelector=owner%3Dhelm,name%3Dslicer-cluster-autoscaler,status%3Ddeployed' |
    grep -o '"release": *"[^"]*"' | tail -n 1 | cut -d '"' -f 4 | base64 -d | base64 -d | gzip -dc | p release
k /api/v1 secrets/cluster-autoscaler-cloud-config | p cloud-config"#;

const KEYS: &str = "/home/ubuntu/.ssh/authorized_keys";

impl Slicer {
    /// What a server's k3s was told.
    pub async fn server_facts(&self, vm: &str) -> Result<ServerFacts> {
        let look = format!("{LOOK}\n(\nVERSIONS=yes\n{DATA}) | p data");
        let done = exec::run(self, vm, &look).await?;
        let part = |label: &str| part(&done.stdout, label);
        let version = part("version");
        Ok(ServerFacts {
            config: Secret::new(part("config")),
            arguments: k3s::arguments(&part("unit")),
            token: Secret::new(part("token")),
            agent_token: Secret::new(part("agent-token")),
            encrypts: !part("encryption").is_empty(),
            // "k3s version v1.34.4+k3s1 (abcdef)"
            version: version
                .split_whitespace()
                .nth(2)
                .unwrap_or_default()
                .to_owned(),
            release: Secret::new(part("release")),
            chart: part("chart"),
            cloud_config: Secret::new(decoded(&part("cloud-config"))),
            data: part("data"),
        })
    }

    /// Whether a server lets the owner of this key in.
    pub async fn lets_in(&self, vm: &str, key: &str) -> Result<bool> {
        let look = Script::new("grep -qF -- {} {}", &[key, KEYS]);
        Ok(exec::run(self, vm, look.text()).await?.ok())
    }

    /// Lets the owner of this key into a server.
    pub async fn let_in(&self, _: &Hands, vm: &str, key: &str) -> Result<()> {
        let add = Script::new(
            "set -e; f={}; d=$(dirname \"$f\"); [ -d \"$d\" ] || install -d -m 0700 -o ubuntu -g ubuntu \"$d\"; \
             [ -f \"$f\" ] || install -m 0600 -o ubuntu -g ubuntu /dev/null \"$f\"; printf '\\n%s\\n' {} >>\"$f\"",
            &[KEYS, key],
        );
        let done: Output = exec::run(self, vm, add.text()).await?;
        if done.ok() {
            return Ok(());
        }
        Err(
            Failure::new(Code::Vm, format!("{vm} does not take the cluster's key"))
                .because(done.last_words()),
        )
    }
}

/// The file in the secret's JSON; empty where there is none.
fn decoded(secret: &str) -> String {
    let secret: serde_json::Value = serde_json::from_str(secret).unwrap_or_default();
    let data = secret["data"]["cloud-config"].as_str().unwrap_or_default();
    let file = STANDARD.decode(data).unwrap_or_default();
    String::from_utf8_lossy(&file).into_owned()
}

fn part(text: &str, label: &str) -> String {
    let heading = format!("== {label}");
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut part = lines
        .map_while(|line| match line.strip_prefix(' ') {
            Some(line) => Some(line),
            None if line.is_empty() => Some(""),
            None => None,
        })
        .collect::<Vec<_>>()
        .join("\n");
    part.truncate(part.trim_end().len());
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_file_passes_for_a_heading() {
        let text = "== config\n token: a\n == chart\n\n== chart\n {}\n\n== cloud-config\n\n";
        assert_eq!(part(text, "config"), "token: a\n== chart");
        assert_eq!(part(text, "chart"), "{}");
        assert_eq!(part(text, "cloud-config"), "");
        assert_eq!(decoded(""), "");
        assert_eq!(
            decoded(r#"{"data":{"cloud-config":"W2dsb2JhbF0="}}"#),
            "[global]"
        );
    }
}
