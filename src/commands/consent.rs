//! What a person agrees to before a command changes anything: shown, refused where it takes a word that was not given, asked.

use super::ask::{self, Name};
use crate::cli::Consent;
use crate::failure::{Failures, Result};
use crate::question::Terminal;
use crate::report::{headed, say};
use crate::steps::local_data::Stake;
use crate::steps::outages::Outages;

/// What a command is about to do.
pub(super) struct Prospect<'a> {
    /// What happens, for people; empty where that was shown before, or is nothing new.
    pub(super) text: &'a str,
    /// What goes down on the way.
    pub(super) outages: &'a Outages,
    /// Whether that is allowed where consent is not enough for it.
    pub(super) allow_outage: bool,
    /// The data that goes with VMs that end.
    pub(super) loss: &'a Stake,
    /// Whether that is allowed: consent is not enough for it.
    pub(super) delete_local_data: bool,
    /// Whether there is anything else to agree to.
    pub(super) asks: bool,
    /// What to do where the answer is no.
    pub(super) instead: &'a str,
}

/// Of a command that restarts nothing.
static NOTHING: Outages = Outages {
    found: Vec::new(),
    silent: Vec::new(),
};

/// Of a command that ends no VM, or none with data on its disk.
static NO_LOSS: Stake = Stake::NONE;

impl<'a> Prospect<'a> {
    /// What this text says has to be agreed to, and nothing goes down for it.
    pub(super) fn of(text: &'a str, instead: &'a str) -> Self {
        Self {
            text,
            outages: &NOTHING,
            allow_outage: false,
            loss: &NO_LOSS,
            delete_local_data: false,
            asks: true,
            instead,
        }
    }

    /// The same where this data goes with it, which `delete_local_data` allows.
    pub(super) fn losing(self, loss: &'a Stake, delete_local_data: bool) -> Self {
        Self {
            loss,
            delete_local_data,
            ..self
        }
    }

    /// Shows it and has it agreed to, once. A look needs no consent, and is refused nothing.
    pub(super) async fn agree(&self, consent: Consent) -> Result<(), Failures> {
        let outages = outages(self.outages, self.allow_outage);
        let loss = self.loss.told();
        for text in [self.text, &outages, loss.trim_end()] {
            if !text.is_empty() {
                say(text);
            }
        }
        if self.must_ask(consent)? {
            ask::consent(consent.yes, self.instead).await?;
        }
        Ok(())
    }

    /// Whether it takes consent; refused where it takes a word that was not given.
    fn must_ask(&self, consent: Consent) -> Result<bool, Failures> {
        if consent.dry_run {
            return Ok(false);
        }
        let found = self.outages.found.iter();
        let found = found.filter(|_| !self.allow_outage);
        let mut refused: Failures = found.filter_map(|outage| outage.refusal.clone()).collect();
        refused.extend(self.loss.permitted(self.delete_local_data).err());
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(self.asks || !self.outages.found.is_empty() || *self.loss != NO_LOSS)
    }
}

/// What goes down, a line each, with the flag that it takes; empty where nothing does.
fn outages(outages: &Outages, allowed: bool) -> String {
    if outages.found.is_empty() {
        return String::new();
    }
    let mut text = "What restarts:\n".to_owned();
    for outage in &outages.found {
        let flag = match (&outage.refusal, allowed) {
            (None, _) => "",
            (Some(_), false) => " (needs --allow-outage)",
            (Some(_), true) => " (--allow-outage)",
        };
        text += &headed("  ", &format!("{}{flag}", outage.what));
    }
    text
}

/// Has a name typed by a person who gives something up for good, unless `--yes` was given or nothing is done.
pub(super) async fn typed(consent: Consent, name: Name<'_>) -> Result<()> {
    if consent.yes || consent.dry_run {
        return Ok(());
    }
    name.typed(&Terminal).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Code, Failure};
    use crate::steps::outages::Outage;

    fn outage(refused: bool) -> Outages {
        let refusal = refused.then(|| Failure::new(Code::Outage, "it must restart"));
        Outages {
            found: vec![Outage {
                what: "k3s on k3s-cp-1 restarts".into(),
                refusal,
            }],
            silent: Vec::new(),
        }
    }

    /// How it ends, and whether the person was asked; whoever is asked without `--yes` says no.
    fn decided(
        outages: &Outages,
        allow_outage: bool,
        asks: bool,
        consent: Consent,
    ) -> (Option<Code>, bool) {
        let prospect = Prospect {
            outages,
            allow_outage,
            asks,
            ..Prospect::of("", "")
        };
        ended(&prospect, consent)
    }

    fn ended(prospect: &Prospect<'_>, consent: Consent) -> (Option<Code>, bool) {
        match prospect.must_ask(consent) {
            Err(refused) => (Some(refused[0].code), false),
            Ok(true) if !consent.yes => (Some(Code::Declined), true),
            Ok(asked) => (None, asked),
        }
    }

    /// `--yes` is no word for what goes down by the way, and the flag for that is no consent.
    #[test]
    fn what_goes_down_takes_the_flag_and_consent_both() {
        let (yes, no) = (
            Consent {
                yes: true,
                ..Consent::default()
            },
            Consent::default(),
        );
        let (nothing, rolling, costly) = (Outages::default(), outage(false), outage(true));
        assert_eq!(decided(&nothing, false, false, no), (None, false));
        assert_eq!(
            decided(&nothing, false, true, no),
            (Some(Code::Declined), true)
        );
        assert_eq!(
            decided(&rolling, false, false, no),
            (Some(Code::Declined), true)
        );
        assert_eq!(decided(&rolling, false, false, yes), (None, true));
        assert_eq!(
            decided(&costly, false, true, yes),
            (Some(Code::Outage), false)
        );
        assert_eq!(
            decided(&costly, true, false, no),
            (Some(Code::Declined), true)
        );
        assert_eq!(decided(&costly, true, false, yes), (None, true));
    }

    /// The same of data on the disks of VMs: the flag alone gave it up without a question, and `--yes` alone would have.
    #[test]
    fn data_that_would_be_lost_takes_the_flag_and_consent_both() {
        let yes = Consent {
            yes: true,
            ..Consent::default()
        };
        let look = Consent {
            dry_run: true,
            ..Consent::default()
        };
        let loss = Stake::unknown("no server answers");
        let nothing = Outages::default();
        for (loss, flag, consent, end) in [
            (&loss, false, yes, (Some(Code::LocalData), false)),
            (
                &loss,
                true,
                Consent::default(),
                (Some(Code::Declined), true),
            ),
            (&loss, true, yes, (None, true)),
            (&loss, false, look, (None, false)),
            (&NO_LOSS, false, Consent::default(), (None, false)),
        ] {
            let prospect = Prospect {
                outages: &nothing,
                asks: false,
                ..Prospect::of("", "")
            };
            assert_eq!(ended(&prospect.losing(loss, flag), consent), end, "{flag}");
        }
    }

    #[test]
    fn a_look_is_neither_asked_about_nor_refused_and_names_the_flag() {
        let look = Consent {
            dry_run: true,
            ..Consent::default()
        };
        assert_eq!(decided(&outage(true), false, true, look), (None, false));
        for (refused, allowed, says) in [
            (true, false, "restarts (needs --allow-outage)"),
            (true, true, "restarts (--allow-outage)"),
            (false, false, "k3s-cp-1 restarts\n"),
        ] {
            let text = outages(&outage(refused), allowed);
            assert!(text.contains(says), "{text}");
        }
        assert_eq!(outages(&Outages::default(), false), "");
    }
}
