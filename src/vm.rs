//! A VM as Slicer lists it: what agents, deletion and status decide by.
//!
//! Source: slicervm/sdk@fb6f052 types.go; docs.slicervm.com, reference/api.

use serde::Deserialize;

/// A VM as the API lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Vm {
    /// Its host name, unique in its group.
    pub hostname: String,
    /// Its address; some calls add a mask, see [`Vm::address`].
    #[serde(default)]
    pub ip: String,
    /// `Running`, `Paused` or `Stopped`; older versions do not tell.
    #[serde(default)]
    pub status: Option<String>,
    /// When it was made, by its host's clock, as RFC 3339 tells times.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Vm {
    /// The address without its mask.
    pub fn address(&self) -> &str {
        self.ip.split('/').next().unwrap_or_default()
    }

    /// Whether it runs, as far as the API tells.
    pub fn runs(&self) -> bool {
        self.status
            .as_deref()
            .is_none_or(|status| status.is_empty() || status.eq_ignore_ascii_case("running"))
    }
}
