//! Making a connection to a host: through its jump hosts, each checked and logged in to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::PublicKey;
use tokio::net::TcpStream;

use super::auth;
use super::client::{Broken, Client, Ending, Refusal, handshake, unreachable};
use super::connection::{Connection, Dial, TIMEOUT};
use super::target::{HostTarget, KeyPolicy, Surroundings};
use super::trust::{Identity, Trust};
use super::tunnel::tunnel;
use super::user_config::Hop;
use crate::failure::{Code, Failure, Result};
use crate::question::{Elapsed, limited};
use crate::remote::Stream;

/// A login takes no longer, not counting what a person is asked. The agent may ask a person, too, and does not say so.
const LOGIN: Duration = Duration::from_mins(2);

/// Dials a host of cluster.toml.
pub(super) struct HostDialer {
    hops: Vec<(String, Hop, Arc<Trust>)>,
    policy: KeyPolicy,
    surroundings: Surroundings,
}

impl HostDialer {
    /// A dialer along these hops, the last of which is the host.
    pub(super) fn new(
        target: &HostTarget,
        hops: Vec<Hop>,
        policy: KeyPolicy,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let last = hops.len().saturating_sub(1);
        let hops = hops
            .into_iter()
            .enumerate()
            .map(|(index, hop)| {
                let name = if index == last {
                    target.name.clone()
                } else {
                    hop.host.clone()
                };
                let trust = Trust::of(&Identity {
                    name: &name,
                    host: &hop.host,
                    port: hop.port,
                    alias: hop.alias.as_deref(),
                    user_files: &hop.user_known_hosts,
                    global_files: &hop.global_known_hosts,
                    hashes: hop.hashes,
                    pinnable: index == last,
                    pin: target.host_key.as_deref().filter(|_| index == last),
                })?;
                Ok((name, hop, Arc::new(trust)))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            hops,
            policy,
            surroundings,
        })
    }

    /// A connection to one hop whose key is accepted; not logged in.
    async fn hop(
        &self,
        name: &str,
        hop: &Hop,
        trust: &Arc<Trust>,
        via: Option<&Client>,
    ) -> Result<(Client, Ending)> {
        let mut not_pinned: Option<PublicKey> = None;
        let mut vouched = false;
        let mut groups = trust.kinds();
        groups.reverse();
        while let Some(kinds) = groups.pop() {
            let stream = open(name, hop, via).await?;
            let what = || format!("cannot connect to {name} ({}:{})", hop.host, hop.port);
            let shaken =
                tokio::time::timeout(TIMEOUT, handshake(stream, kinds.clone(), trust.judge()));
            match shaken.await {
                Err(_) => {
                    return Err(Failure::new(Code::SshUnreachable, what()).because(format!(
                        "something accepts connections there, but no SSH server answers within {} s",
                        TIMEOUT.as_secs()
                    )));
                }
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(Broken::Refused(refusal))) => match *refusal {
                    Refusal::Wrong(failure) => return Err(failure),
                    Refusal::NotPinned(key) => {
                        not_pinned.get_or_insert(key);
                    }
                    // Asked with the connection closed: people take their time, servers do not.
                    Refusal::Unknown(key) if !vouched => {
                        trust.vouch(&key, self.policy, &self.surroundings).await?;
                        groups.push(kinds);
                        vouched = true;
                    }
                    Refusal::Unknown(_) => {}
                },
                Ok(Err(Broken::Ssh(russh::Error::NoCommonAlgo { kind, .. })))
                    if !groups.is_empty() && matches!(kind, russh::AlgorithmKind::Key) => {}
                Ok(Err(Broken::Ssh(error))) => {
                    if let (Some(key), russh::Error::NoCommonAlgo { .. }) = (&not_pinned, &error) {
                        return Err(trust.not_pinned(key));
                    }
                    return Err(unreachable(what(), &error));
                }
            }
        }
        Err(match not_pinned {
            Some(key) => trust.not_pinned(&key),
            None => Failure::new(
                Code::HostKeyChanged,
                format!("{name}'s host key changes at every connection"),
            )
            .because("it was just accepted, and is not the same any more"),
        })
    }

    /// A connection to one hop that is logged in.
    async fn login(
        &self,
        name: &str,
        hop: &Hop,
        trust: &Arc<Trust>,
        via: Option<&Client>,
    ) -> Result<(Client, Ending)> {
        let (mut client, end) = self.hop(name, hop, trust, via).await?;
        let ask = self.surroundings.ask.as_ref();
        let login = auth::with_user_keys(&mut client, name, hop, ask);
        match limited(LOGIN, login).await {
            Ok(done) => done.map(|()| (client, end)),
            Err(Elapsed) => Err(Failure::new(
                Code::SshUnreachable,
                format!("{name} does not let us in"),
            )
            .because(format!("logging in took longer than {} s", LOGIN.as_secs()))),
        }
    }
}

#[async_trait]
impl Dial for HostDialer {
    async fn dial(&self) -> Result<Connection> {
        let mut jumps: Vec<Client> = Vec::new();
        let mut ending = Ending::default();
        for (name, hop, trust) in &self.hops {
            let (client, end) = match self.login(name, hop, trust, jumps.last()).await {
                // Servers give a login two minutes (LoginGraceTime), and people may take longer to type a passphrase, which
                // is known now.
                Err(failure) if failure.code == Code::SshLost => {
                    self.login(name, hop, trust, jumps.last()).await?
                }
                done => done?,
            };
            jumps.push(client);
            ending = end;
        }
        let client = jumps
            .pop()
            .ok_or_else(|| Failure::new(Code::Config, "no machine to connect to"))?;
        Ok(Connection::new(client, ending, jumps))
    }
}

/// A stream to the hop's SSH port, directly or through the previous hop.
async fn open(name: &str, hop: &Hop, via: Option<&Client>) -> Result<Box<dyn Stream>> {
    let what = format!("cannot connect to {name} ({}:{})", hop.host, hop.port);
    let Some(jump) = via else {
        return Ok(Box::new(connect(&hop.host, hop.port, what).await?));
    };
    tunnel(jump, name, &hop.host, hop.port).await
}

async fn connect(host: &str, port: u16, what: String) -> Result<TcpStream> {
    let failed = |why: String| Failure::new(Code::SshUnreachable, what.clone()).because(why);
    let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| failed(format!("looking up {host} took too long")))?
        .map_err(|error| {
            failed(format!("{host} is not known: {error}")).hint(
                "check the spelling in cluster.toml; a name can also be an alias in ~/.ssh/config",
            )
        })?;
    let mut last = failed(format!("{host} has no address"));
    for address in found.take(4) {
        match tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests and answers all day; a failure costs only time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => {
                last = failed(format!("{}: {error}", address.ip()));
                if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    last = last.hint(format!(
                        "the machine is up: does its SSH server run, and on port {port}?"
                    ));
                }
            }
            Err(_) => {
                last = failed(format!(
                    "{} does not answer within {} s",
                    address.ip(),
                    TIMEOUT.as_secs()
                ))
                .hint("is it switched on, and on this network?");
            }
        }
    }
    Err(last)
}
