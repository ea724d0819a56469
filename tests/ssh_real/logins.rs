//! Who we are: keys, agents, passphrases, certificates.

use slicer_k3s::failure::Code;
use slicer_k3s::remote::ssh::{HostTarget, KeyPolicy};

use crate::sshd::{Answer, House, ssh_keygen};

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_agent_and_refused_ones_are_named() {
    let house = house!("");
    std::fs::rename(house.path("id"), house.path("elsewhere")).unwrap();
    let failure = house.refused().await;
    assert_eq!(failure.code, Code::SshAuth);

    ssh_keygen(&[
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        house.path("wrong").to_str().unwrap(),
    ]);
    let wrong = HostTarget {
        key_file: Some(house.path("wrong").display().to_string()),
        ..house.target()
    };
    let failure = house
        .connect_as(&wrong, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap_err();
    let cause = failure.cause.unwrap();
    assert!(
        cause.contains("ssh-ed25519 SHA256:") && cause.contains("wrong"),
        "{cause}"
    );

    let agent = house.agent("elsewhere");
    house.with_agent(&agent).connect().await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_key_is_unlocked_by_a_person_or_named() {
    let house = house!("");
    let key = house.path("id").display().to_string();
    ssh_keygen(&["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key]);
    let failure = house.refused().await;
    assert_eq!(failure.code, Code::SshAuth);
    assert!(failure.hint.unwrap().contains("ssh-add"));
    let person = house.asking(Answer::Secret("open sesame"));
    person.connect().await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_and_certificates_open_the_door() {
    let house = house!("");
    let rsa = house.path("rsa").display().to_string();
    ssh_keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &rsa]);
    house.authorize(&std::fs::read_to_string(format!("{rsa}.pub")).unwrap());
    let target = HostTarget {
        key_file: Some(rsa),
        ..house.target()
    };
    house.lets_in(&target).await;

    let (ca, key) = (
        house.path("ca").display().to_string(),
        house.path("signed").display().to_string(),
    );
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &ca]);
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    ssh_keygen(&[
        "-q",
        "-s",
        &ca,
        "-I",
        "me",
        "-n",
        house.user(),
        &format!("{key}.pub"),
    ]);
    house.authorize(&format!(
        "cert-authority {}",
        std::fs::read_to_string(format!("{ca}.pub")).unwrap()
    ));
    let target = HostTarget {
        key_file: Some(key),
        ..house.target()
    };
    house.lets_in(&target).await;
}
