//! Servers lose their disks: one after the other, two at once, all; a second cluster is founded by hand beside the first;
//! what brings a server back is killed. What the cluster held is there at the end, and nothing is ever founded twice.

mod each;
mod quorum;
mod rejoin_kills;
mod two_clusters;
mod worker_off;

use super::super::Check;

/// Each a fleet of its own.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::long("servers-lost-one", each::one),
        Check::long("servers-lost-refused", each::refused),
        Check::long("servers-lost-three", each::three),
        Check::long("servers-lost-spread", each::spread),
        Check::long("servers-lost-two", quorum::two),
        Check::long("servers-lost-all", quorum::all),
        Check::long("servers-lost-quorum-three", quorum::three),
        Check::long("servers-lost-quorum-spread", quorum::spread),
        Check::long("two-clusters", two_clusters::run),
        Check::long("worker-off", worker_off::run),
        Check::seeded("rejoin-kills", rejoin_kills::one),
        Check::seeded("rejoin-kills-spread", rejoin_kills::spread),
    ]
}
