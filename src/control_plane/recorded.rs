//! The cluster that is on record: in this workstation's state, or in a host's mark.

use std::collections::BTreeSet;

use crate::failure::{Code, Failure, Result};
use crate::plan::{Decisions, Founded, Mark};

/// The cluster that was founded, as the state or else the hosts' marks have it; marks of clusters that were destroyed or
/// given up do not count.
pub fn recorded(
    decisions: &Decisions,
    marks: &[Mark],
    destroyed: &BTreeSet<String>,
) -> Result<Option<Founded>> {
    let obeyed = |founded: &&Founded| {
        !destroyed.contains(&founded.ca) && !decisions.given_up.contains(&founded.ca)
    };
    let marked = marks
        .iter()
        .filter_map(|mark| Some((mark, mark.founded.as_ref().filter(obeyed)?)));
    let mut known = decisions.founded.clone();
    for (mark, founded) in marked {
        match &mut known {
            None => known = Some(founded.clone()),
            // Another workstation may have seen more of them vote.
            Some(known) if known.ca == founded.ca => {
                known.voters.extend(founded.voters.iter().cloned());
            }
            Some(known) => {
                return Err(Failure::new(
                    Code::TwoClusters,
                    format!(
                        "{} is marked as a host of another cluster called {}",
                        mark.host, mark.cluster
                    ),
                )
                .because(format!(
                    "its mark names CA {:.12}, and the one on record here has {:.12}",
                    founded.ca, known.ca
                ))
                .hint(format!(
                    "if the other one is gone for good, on {}: sudo rm {}",
                    mark.host,
                    Mark::path(&mark.cluster)
                ))
                .permanent());
            }
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    fn founded(ca: &str) -> Founded {
        Founded {
            ca: ca.into(),
            voters: BTreeSet::new(),
        }
    }

    fn marked(ca: &str) -> Mark {
        let mut plan = plan();
        plan.founded = Some(founded(ca));
        plan.mark("ryzen")
    }

    #[test]
    fn a_mark_is_obeyed_unless_its_cluster_was_destroyed_or_given_up() {
        let none = BTreeSet::new();
        let mut decisions = Decisions::default();
        let seen = |decisions: &Decisions, gone: &BTreeSet<String>| {
            recorded(decisions, &[marked("aa")], gone)
        };
        assert_eq!(seen(&decisions, &none).unwrap(), Some(founded("aa")));
        assert_eq!(seen(&decisions, &["aa".into()].into()).unwrap(), None);
        decisions.founded = Some(founded("bb"));
        let failure = seen(&decisions, &none).unwrap_err();
        assert_eq!(failure.code, Code::TwoClusters);
        decisions.given_up.insert("aa".into());
        assert_eq!(seen(&decisions, &none).unwrap(), Some(founded("bb")));
    }
}
