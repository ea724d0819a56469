//! Tokens change under a running cluster: servers restart afterwards as before, also in the middle of it and after a kill;
//! agents stay, the old tokens are refused, and another person's state learns of it.

mod agent_at_work;
mod cut_short;
mod drop_in;
mod in_a_row;
mod kills;
mod replace_agents;
mod restarts;
mod rotation;
mod second_workstation;
mod slicer;

use super::super::Check;

/// Each a fleet of its own.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::long("rotate-one", in_a_row::one),
        Check::long("rotate-three", in_a_row::three),
        Check::long("rotate-restarts", restarts::run),
        Check::long("rotate-second-workstation", second_workstation::run),
        Check::long("rotate-slicer", slicer::run),
        Check::long("replace-agents", replace_agents::run),
        Check::seeded("rotate-kills", kills::one),
        Check::seeded("rotate-kills-spread", kills::spread),
    ]
}
