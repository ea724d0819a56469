//! The licence file: any text will do; `name:`, `tier:` and `expires:` lines are honoured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::account;
use crate::time;

/// What a licence file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Licence {
    /// Who holds it.
    pub(crate) name: String,
    /// What was bought.
    pub(crate) tier: String,
    /// The last day on which it holds, in days since the epoch.
    pub(crate) expires: i64,
}

impl Licence {
    /// Finds and reads the licence, and refuses one that has run out.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => Self::search().context(
                "no licence found in ~/.slicer/LICENSE: pass --license-file PATH, or run `slicer activate`",
            )?,
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read licence file {}", path.display()))?;
        let licence =
            Self::parse(&text).with_context(|| format!("invalid licence in {}", path.display()))?;
        if licence.days_left() < 0 {
            bail!(
                "invalid licence in {}: token is expired ({}): run `slicer activate` or renew it",
                path.display(),
                time::date_of(licence.expires)
            );
        }
        Ok(licence)
    }

    /// Where `slicer activate` puts the licence of the caller.
    pub(crate) fn default_path() -> PathBuf {
        let home = account::homes()
            .into_iter()
            .next()
            .unwrap_or_else(|| "/root".into());
        home.join(".slicer/LICENSE")
    }

    /// Days until it runs out; negative when it has.
    pub(crate) fn days_left(&self) -> i64 {
        self.expires - time::today()
    }

    fn search() -> Option<PathBuf> {
        account::homes()
            .into_iter()
            .map(|home| home.join(".slicer/LICENSE"))
            .find(|path| path.is_file())
    }

    fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            bail!("the file is empty");
        }
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        let expires = match field("expires") {
            Some(date) => time::day_of(&date)?,
            None => time::today() + 365,
        };
        Ok(Self {
            name: field("name").unwrap_or_else(|| "Lab User".to_owned()),
            tier: field("tier").unwrap_or_else(|| "Individual".to_owned()),
            expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon whose licence ran out must not start.
    #[test]
    fn an_expired_licence_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LICENSE");
        std::fs::write(&path, "tier: Platform\nexpires: 2020-01-01\n").unwrap();
        let error = Licence::find(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("expired (2020-01-01)"), "{error}");
        std::fs::write(&path, "tier: Platform\nexpires: 9999-01-01\n").unwrap();
        assert_eq!(Licence::find(Some(&path)).unwrap().tier, "Platform");
        std::fs::write(&path, "\n").unwrap();
        assert!(Licence::find(Some(&path)).is_err());
        assert!(Licence::find(Some(&dir.path().join("absent"))).is_err());
    }
}
