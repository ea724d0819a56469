//! A cluster's tokens and its own SSH key.

use std::collections::BTreeMap;

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{LineEnding, PrivateKey};

use super::no_randomness;
use crate::failure::{Code, Failure, Result};
use crate::secret::Secret;
use crate::time::unix_time;

/// What only this cluster's operators may know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Secrets {
    /// Servers join with it; it also encrypts k3s's bootstrap data.
    pub server_token: Secret,
    /// Agents join with it; it cannot make a server.
    pub agent_token: Secret,
    /// The cluster's own ed25519 key for its server VMs, OpenSSH PEM.
    pub ssh_private_key: Secret,
    /// Its public half, one `authorized_keys` line.
    pub ssh_public_key: String,
    /// Tokens that were given up and may still be in use somewhere.
    #[serde(default, skip_serializing_if = "Retired::is_empty")]
    pub retired: Retired,
    /// Server tokens of before, the latest last: a snapshot of etcd can only be restored with the token that the cluster
    /// had when it was taken. A copy of one may lie anywhere, so none is ever dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
}

/// A server token that is no longer in use.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Former {
    /// The token.
    pub token: Secret,
    /// When it was replaced, in seconds since 1970 by this workstation's clock.
    pub until: u64,
}

/// What a rotation replaces: known until the new tokens are in use everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retired {
    /// The server token before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Secret>,
    /// The agent token before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Secret>,
    /// Slicer's API tokens before, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slicer: BTreeMap<String, Secret>,
    /// How far the replacement of join tokens has come.
    #[serde(default, skip_serializing_if = "RotationPhase::is_unknown")]
    pub phase: RotationPhase,
    /// The agents that joined by the old token are to be drained and removed, whichever run finishes the rotation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace_agents: bool,
}

/// How far a rotation of join tokens has come; never back.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum RotationPhase {
    /// The new tokens are on record and nowhere else: nothing begins before every server is well.
    Recorded,
    /// Every server was well; their configuration may name the new tokens.
    Begun,
    /// k3s may have been asked to seal the cluster's data with the new server token. Also what is assumed where nothing is on
    /// record: of rotations that an earlier release began, and of those that an import found.
    #[default]
    Sealing,
}

impl RotationPhase {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl Retired {
    /// Whether no rotation is under way.
    pub fn is_empty(&self) -> bool {
        !self.has_join_tokens() && self.slicer.is_empty()
    }

    /// Whether a rotation of join tokens is under way.
    pub fn has_join_tokens(&self) -> bool {
        self.server.is_some() || self.agent.is_some()
    }
}

/// Bytes of a token; written as hex.
const TOKEN_BYTES: usize = 32;

impl Secrets {
    /// Fresh ones for cluster `name`.
    pub fn generate(name: &str) -> Result<Self> {
        let (ssh_private_key, ssh_public_key) = key_pair(&format!("slicer-k3s-{name}"))?;
        Ok(Self {
            server_token: Secret::random_hex(TOKEN_BYTES).map_err(no_randomness)?,
            agent_token: Secret::random_hex(TOKEN_BYTES).map_err(no_randomness)?,
            ssh_private_key,
            ssh_public_key,
            retired: Retired::default(),
            former: Vec::new(),
        })
    }

    /// Ends a rotation of join tokens: those that it retired are in use nowhere any more.
    pub fn settle(&mut self) {
        let slicer = std::mem::take(&mut self.retired.slicer);
        let retired = std::mem::replace(
            &mut self.retired,
            Retired {
                slicer,
                ..Retired::default()
            },
        );
        self.former.extend(retired.server.map(|token| Former {
            token,
            until: unix_time(),
        }));
    }

    /// Whether a rotation of join tokens is under way that servers may know of.
    pub fn has_begun_rotation(&self) -> bool {
        self.retired.has_join_tokens() && self.retired.phase > RotationPhase::Recorded
    }

    /// Drops a rotation of join tokens that has not begun: its new tokens are in use nowhere, and another command must not
    /// wait for it.
    pub fn forget_unbegun(&mut self) {
        if self.retired.has_join_tokens() && !self.has_begun_rotation() {
            *self = self.in_use();
        }
    }

    /// The secrets as the servers have them: of a rotation of join tokens that has not begun the old tokens count, and it is
    /// not among these.
    #[must_use]
    pub fn in_use(&self) -> Self {
        let mut secrets = self.clone();
        if self.retired.phase > RotationPhase::Recorded {
            return secrets;
        }
        let retired = std::mem::take(&mut secrets.retired);
        secrets.server_token = retired.server.unwrap_or(secrets.server_token);
        secrets.agent_token = retired.agent.unwrap_or(secrets.agent_token);
        secrets.retired.slicer = retired.slicer;
        secrets
    }

    /// Keeps what only a record of the same cluster has that these secrets replace: its server tokens, any of which a snapshot
    /// may need, Slicer's tokens that are being replaced, and that the agents are to be.
    /// `until` is when the one that was in use by that record was replaced, in seconds since 1970.
    pub fn inherit(&mut self, replaced: &Self, until: u64) {
        let in_use = [Some(&self.server_token), self.retired.server.as_ref()];
        let in_use: Vec<Secret> = in_use.into_iter().flatten().cloned().collect();
        let last = [
            replaced.retired.server.as_ref(),
            Some(&replaced.server_token),
        ];
        let last = last.into_iter().flatten().cloned();
        let last = last.map(|token| Former { token, until });
        // No host shows the token that a daemon was started with.
        for (host, token) in &replaced.retired.slicer {
            let slicer = &mut self.retired.slicer;
            slicer.entry(host.clone()).or_insert_with(|| token.clone());
        }
        if self.retired.agent.is_some() && self.retired.agent == replaced.retired.agent {
            self.retired.replace_agents |= replaced.retired.replace_agents;
        }
        for former in replaced.former.iter().cloned().chain(last) {
            let known = self.former.iter().any(|known| known.token == former.token);
            if !known && !in_use.contains(&former.token) {
                self.former.push(former);
            }
        }
    }

    /// Whether agents have joined by the servers' token until the rotation that is under way, as they do where a server's
    /// configuration names no other token for them.
    pub fn agents_had_the_server_token(&self) -> bool {
        let servers = [Some(&self.server_token), self.retired.server.as_ref()];
        let retired = self.retired.agent.as_ref();
        retired.is_some() && servers.contains(&retired)
    }

    /// The command that goes on with a rotation that has not ended; `None` where none is under way.
    pub fn unfinished_rotation(&self) -> Option<String> {
        let retired = &self.retired;
        let host = retired.slicer.keys().next();
        if self.agents_had_the_server_token() {
            // Of a cluster that was set up by hand and imported: its servers are not configured yet.
            Some("slicer-k3s init".to_owned())
        } else if retired.server.is_some() {
            Some("slicer-k3s rotate-token --server".to_owned())
        } else if retired.agent.is_some() {
            let how = if retired.replace_agents {
                " --replace-agents"
            } else {
                ""
            };
            Some(format!("slicer-k3s rotate-token{how}"))
        } else {
            host.map(|host| format!("slicer-k3s rotate-token --slicer {host} --allow-outage"))
        }
    }

    /// The public half of the private key. After an import it is not the one that was given to the VMs at their first boot.
    pub fn own_public_key(&self) -> Result<String> {
        let broken = |error: String| {
            Failure::new(Code::LocalFile, "the cluster's SSH key is damaged").because(error)
        };
        russh::keys::decode_secret_key(self.ssh_private_key.expose(), None)
            .map_err(|error| broken(error.to_string()))?
            .public_key()
            .to_openssh()
            .map_err(|error| broken(error.to_string()))
    }

    /// Makes a new server or agent token and retires the one before; `false` where one is retired already.
    pub fn renew(&mut self, server: bool) -> Result<bool> {
        let under_way = self.retired.has_join_tokens();
        let (token, retired) = if server {
            (&mut self.server_token, &mut self.retired.server)
        } else {
            (&mut self.agent_token, &mut self.retired.agent)
        };
        if retired.is_some() {
            return Ok(false);
        }
        let fresh = Secret::random_hex(TOKEN_BYTES).map_err(no_randomness)?;
        *retired = Some(std::mem::replace(token, fresh));
        // One that has begun does not go back for another.
        if !under_way {
            self.retired.phase = RotationPhase::Recorded;
        }
        Ok(true)
    }
}

fn key_pair(comment: &str) -> Result<(Secret, String)> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).map_err(|error| no_randomness(std::io::Error::other(error)))?;
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
    let encode = |error: russh::keys::ssh_key::Error| {
        Failure::new(Code::LocalFile, "cannot make the cluster's SSH key").because(error)
    };
    let key = PrivateKey::new(pair, comment).map_err(encode)?;
    let private = key.to_openssh(LineEnding::LF).map_err(encode)?;
    let public = key.public_key().to_openssh().map_err(encode)?;
    Ok((Secret::new(private.as_str()), public))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that was down when a token was to be replaced would otherwise hold up every other command.
    #[test]
    fn a_rotation_that_has_not_begun_is_forgotten() {
        let before = Secrets::generate("a").unwrap();
        for (phase, forgotten) in [
            (RotationPhase::Recorded, true),
            (RotationPhase::Begun, false),
        ] {
            let mut secrets = before.clone();
            secrets.renew(true).unwrap();
            secrets.retired.phase = phase;
            secrets.forget_unbegun();
            assert_eq!(secrets == before, forgotten, "{phase:?}");
            assert_eq!(secrets.has_begun_rotation(), !forgotten, "{phase:?}");
        }
    }

    /// No host shows the token that a daemon was started with, once its file has another.
    #[test]
    fn slicers_tokens_that_are_being_replaced_are_inherited() {
        let mut replaced = Secrets::generate("a").unwrap();
        let host = ("pi5".to_owned(), Secret::new("0ld"));
        replaced.retired.slicer.extend([host.clone()]);
        let mut imported = replaced.clone();
        imported.retired = Retired::default();
        imported.inherit(&replaced, 0);
        assert_eq!(imported.retired.slicer.into_iter().next(), Some(host));
    }

    #[test]
    fn two_clusters_share_nothing_and_the_halves_belong_together() {
        let (a, b) = (
            Secrets::generate("a").unwrap(),
            Secrets::generate("b").unwrap(),
        );
        assert_ne!(a.server_token, b.server_token);
        assert_ne!(a.server_token, a.agent_token);
        assert_eq!(a.server_token.expose().len(), 64);
        assert_ne!(a.ssh_public_key, b.ssh_public_key);
        assert!(a.ssh_public_key.starts_with("ssh-ed25519 "));
        assert!(a.ssh_public_key.ends_with(" slicer-k3s-a"));
        let key = russh::keys::decode_secret_key(a.ssh_private_key.expose(), None).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), a.ssh_public_key);
        assert_eq!(a.own_public_key().unwrap(), a.ssh_public_key);
    }

    /// A killed rotation must go on with the token that may already be in use.
    #[test]
    fn a_rotation_keeps_both_tokens_and_is_not_begun_twice() {
        let mut secrets = Secrets::generate("a").unwrap();
        let old = secrets.agent_token.clone();
        assert!(secrets.renew(false).unwrap());
        let new = secrets.agent_token.clone();
        assert_eq!(secrets.retired.agent, Some(old.clone()));
        assert_ne!(new, old);
        assert!(!secrets.renew(false).unwrap());
        assert_eq!(secrets.agent_token, new);
        let text = serde_json::to_string(&secrets).unwrap();
        assert_eq!(serde_json::from_str::<Secrets>(&text).unwrap(), secrets);
    }

    /// Until a rotation has begun the servers go by the old tokens, and nothing of it may be taken for done.
    #[test]
    fn a_rotation_that_has_not_begun_is_in_use_nowhere() {
        let before = Secrets::generate("a").unwrap();
        let mut secrets = before.clone();
        secrets.renew(true).unwrap();
        assert_eq!(secrets.retired.phase, RotationPhase::Recorded);
        assert_eq!(secrets.in_use(), before);
        secrets.retired.phase = RotationPhase::Begun;
        assert_eq!(secrets.in_use(), secrets);
        secrets.renew(false).unwrap();
        assert_eq!(secrets.retired.phase, RotationPhase::Begun);
    }

    /// A file of an earlier release does not say how far its rotation came: all of it may have happened.
    #[test]
    fn a_rotation_of_an_earlier_release_may_have_come_to_its_end() {
        let mut secrets = Secrets::generate("a").unwrap();
        secrets.renew(true).unwrap();
        let mut value = serde_json::to_value(&secrets).unwrap();
        value["retired"].as_object_mut().unwrap().remove("phase");
        let read: Secrets = serde_json::from_value(value).unwrap();
        assert_eq!(read.retired.phase, RotationPhase::Sealing);
        assert_eq!(read.in_use(), read);
    }

    /// What was asked for at first is asked for by the command that goes on, and a host's Slicer token is another matter.
    #[test]
    fn a_rotation_keeps_what_it_was_asked_for_until_it_ends() {
        let mut secrets = Secrets::generate("a").unwrap();
        secrets.renew(false).unwrap();
        secrets.retired.replace_agents = true;
        let host = ("pi5".to_owned(), Secret::new("0ld"));
        secrets.retired.slicer.extend([host]);
        let text = serde_json::to_string(&secrets).unwrap();
        let mut secrets: Secrets = serde_json::from_str(&text).unwrap();
        assert_eq!(
            secrets.unfinished_rotation().unwrap(),
            "slicer-k3s rotate-token --replace-agents"
        );
        secrets.settle();
        assert!(!secrets.retired.replace_agents && !secrets.retired.has_join_tokens());
        assert_eq!(
            secrets.unfinished_rotation().unwrap(),
            "slicer-k3s rotate-token --slicer pi5 --allow-outage"
        );
    }

    /// A snapshot that was taken before opens only with the token of then.
    #[test]
    fn a_replaced_server_token_is_kept_for_snapshots() {
        let mut secrets = Secrets::generate("a").unwrap();
        let first = secrets.server_token.clone();
        for _ in 0..2 {
            secrets.renew(true).unwrap();
            secrets.renew(false).unwrap();
            secrets.settle();
        }
        assert!(secrets.retired.is_empty());
        assert_eq!(secrets.former.len(), 2);
        assert_eq!(secrets.former[0].token, first);
        assert!(secrets.former[0].until > 1_700_000_000);
    }

    /// The other person rotates, this one imports, and again: the hosts know of no token before the last.
    #[test]
    fn an_import_keeps_the_former_server_tokens_of_the_state_that_it_replaces() {
        let mut theirs = Secrets::generate("a").unwrap();
        let mut ours = theirs.clone();
        let mut replaced = Vec::new();
        for until in [1, 2, 3] {
            replaced.push(theirs.server_token.clone());
            theirs.renew(true).unwrap();
            theirs.settle();
            let mut imported = Secrets {
                former: Vec::new(),
                ..theirs.clone()
            };
            imported.inherit(&ours, until);
            // A run that was killed does it again.
            imported.inherit(&ours, until);
            ours = imported;
        }
        let tokens = |secrets: &Secrets| {
            let former = secrets.former.iter();
            former
                .map(|former| former.token.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(tokens(&ours), replaced);
        assert_eq!(ours.former[1].until, 2);
        // What is in use, or retired and not replaced everywhere, is not a former one yet.
        theirs.renew(true).unwrap();
        let mut imported = theirs.clone();
        imported.former.clear();
        imported.inherit(&ours, 4);
        assert_eq!(tokens(&imported), replaced);
        imported.settle();
        assert_eq!(imported.former.len(), 4);
    }
}
