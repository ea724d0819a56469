//! What a person asked for.

use crate::steps::{Options, Proof};

pub(crate) fn options() -> Options {
    Options {
        install_slicer: false,
        accept_slicer_licence: false,
        allow_outage: true,
        silent: Vec::new(),
        delete_local_data: false,
        workstation_route: true,
        state: "state".into(),
        kubeconfig: "kubeconfig".into(),
        proof: Some(Proof {
            pods: 1,
            again: false,
        }),
    }
}
