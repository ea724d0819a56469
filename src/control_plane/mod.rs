//! Whether the cluster's servers are one cluster, and how each of them has to start.
//!
//! k3s founds a new cluster wherever `cluster-init` meets an empty data directory, whoever else is up. So all servers are
//! asked what they hold before anything is written, and `cluster-init` goes to nobody as long as any of them has data, may
//! have data, or is known to have had data.
//!
//! Source: k3s, pkg/cluster/bootstrap.go `shouldBootstrapLoad`, pkg/etcd/etcd.go.

mod ask;
mod describe;
mod held;
mod judge;
mod now;
mod recorded;
mod refusals;
mod sqlite;
mod start;
mod versions;

pub use ask::{Observed, ask, ask_again, ask_all, connect_all};
pub use describe::describe;
pub use held::Held;
pub use judge::{Judgement, Side, judge, judge_new};
pub use now::start_now;
pub use recorded::recorded;
pub use refusals::Refusal;
pub use sqlite::in_sqlite;
pub use start::{ControlPlane, Start};
pub use versions::{Installation, Upgrade, Versions, judge_versions, programs, upgrade, waits};
