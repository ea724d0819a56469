//! Which daemon to speak to, and with which token.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::client::{Client, Place};
use crate::{daemon::settings::socket_path, host::account};

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const TOKEN: &str = "/var/lib/slicer/auth/token";

/// How to reach a daemon.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The daemon: http://HOST:PORT, or the path of a UNIX socket
    #[arg(long, global = true, env = "SLICER_URL", alias = "api")]
    pub(crate) url: Option<String>,
    /// The daemon's UNIX socket
    #[arg(
        long,
        global = true,
        env = "SLICER_SOCKET",
        id = "api-socket",
        long = "socket-path",
        hide = true
    )]
    pub(crate) socket: Option<String>,
    /// The token
    #[arg(long, global = true, env = "SLICER_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The file that holds the token
    #[arg(long, global = true, env = "SLICER_TOKEN_FILE")]
    pub(crate) token_file: Option<String>,
}

impl Connection {
    /// A client of that daemon.
    pub(crate) fn client(&self) -> Result<Client> {
        let url = self
            .socket
            .as_deref()
            .or(self.url.as_deref())
            .filter(|url| !url.is_empty())
            .unwrap_or(DEFAULT_URL);
        let (place, base) = match socket_path(url) {
            Some(path) => (Place::Socket(path), String::new()),
            None => parse(url)?,
        };
        Ok(Client::new(place, base, self.token()?))
    }

    /// `--token` wins over `--token-file`, which wins over the host's own file.
    fn token(&self) -> Result<Option<String>> {
        if let Some(token) = self
            .token
            .as_deref()
            .map(str::trim)
            .filter(|token| !token.is_empty())
        {
            return Ok(Some(token.to_owned()));
        }
        if let Some(file) = self.token_file.as_deref().filter(|file| !file.is_empty()) {
            let path: PathBuf = account::expand(file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read token file {}", path.display()))?;
            ensure!(
                !text.trim().is_empty(),
                "token file {} is empty",
                path.display()
            );
            return Ok(Some(text.trim().to_owned()));
        }
        Ok(std::fs::read_to_string(TOKEN)
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|token| !token.is_empty()))
    }
}

/// Host and port, and the path that some calls keep and others overwrite.
fn parse(url: &str) -> Result<(Place, String)> {
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("`{url}`: this stand-in speaks http:// and UNIX sockets only");
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{}", path.trim_end_matches('/'))),
        None => (rest, String::new()),
    };
    ensure!(!authority.is_empty(), "`{url}` names no host");
    let authority = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    Ok((
        Place::Tcp(authority),
        if path == "/" { String::new() } else { path },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual's `--url …/nodes` works for the calls that overwrite the path, and fails for those that
    /// join onto it: the product must learn to leave the path out.
    #[test]
    fn a_path_in_the_url_is_kept_for_those_that_join() {
        let (place, base) = parse("http://127.0.0.1:8081/nodes").unwrap();
        assert_eq!(place, Place::Tcp("127.0.0.1:8081".into()));
        assert_eq!(base, "/nodes");
        assert_eq!(parse("http://h").unwrap().0, Place::Tcp("h:80".into()));
        assert_eq!(parse("http://h:1/").unwrap().1, "");
        assert!(parse("https://h").is_err());
    }

    /// The token's rank: flag, file, and an empty file is an error.
    #[test]
    fn tokens_are_trimmed_and_ranked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        let mut connection = Connection {
            token_file: Some(file.display().to_string()),
            ..Connection::default()
        };
        assert_eq!(connection.token().unwrap().as_deref(), Some("from-file"));
        connection.token = Some(" from-flag ".into());
        assert_eq!(connection.token().unwrap().as_deref(), Some("from-flag"));
        connection.token = None;
        std::fs::write(&file, "\n").unwrap();
        assert!(connection.token().is_err());
    }
}
