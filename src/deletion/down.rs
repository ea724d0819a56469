//! What may go on as in a cluster without an API: only where each server is off or silent. One that refuses us may run, and the
//! autoscaler and pods with it.

use crate::failure::{Code, Failure};

/// Whether a server that fails so is off or silent, and does not refuse us.
pub fn is_down(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::SshUnreachable | Code::SshLost | Code::Vm | Code::SlicerApi | Code::Kubernetes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_taken_for_a_server_that_is_off() {
        let down = [
            Code::SshUnreachable,
            Code::SshLost,
            Code::Vm,
            Code::SlicerApi,
            Code::Kubernetes,
        ];
        for code in Code::ALL {
            let failure = Failure::new(*code, "k3s-cp-1");
            assert_eq!(is_down(&failure), down.contains(code), "{}", code.name());
        }
    }
}
