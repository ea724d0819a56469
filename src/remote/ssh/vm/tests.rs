use super::super::stand_in::{Habits, key, pem, start};
use super::*;
use crate::remote::{Local, Sudo};
use std::collections::VecDeque;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// An API with these readings, of which the last one stays; `None` is one that failed.
#[derive(Clone)]
struct Readings(Arc<Mutex<VecDeque<Option<Vec<String>>>>>);

impl Readings {
    fn new(readings: &[Option<&[&PrivateKey]>]) -> Self {
        let line = |key: &&PrivateKey| key.public_key().to_openssh().unwrap();
        let lines = |keys: &[&PrivateKey]| keys.iter().map(line).collect();
        let readings = readings.iter().map(|keys| keys.map(lines));
        Self(Arc::new(Mutex::new(readings.collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl HostKeys for Readings {
    async fn read(&self) -> Result<Vec<String>> {
        let mut readings = self.0.lock().unwrap();
        let reading = match readings.len() {
            1 => readings[0].clone(),
            _ => readings.pop_front().unwrap(),
        };
        reading.ok_or_else(|| Failure::new(Code::Vm, "it has no settled SSH host keys"))
    }
}

/// A VM of these habits behind "this machine", connected with `mine` and these pinned host keys.
async fn connect(
    habits: Habits,
    mine: &PrivateKey,
    pinned: &[&PrivateKey],
) -> Result<Box<dyn Remote>> {
    connect_reading(habits, mine, &Readings::new(&[Some(pinned)])).await
}

async fn connect_reading(
    habits: Habits,
    mine: &PrivateKey,
    readings: &Readings,
) -> Result<Box<dyn Remote>> {
    let port = start(habits).await;
    let target = VmTarget {
        name: "k3s-cp-1".into(),
        via: Arc::new(Machine::new("n100", Box::new(Local), Sudo::Root)),
        address: Ipv4Addr::LOCALHOST,
        user: "ubuntu".into(),
        key: Secret::new(pem(mine)),
        host_keys: Box::new(readings.clone()),
    };
    connect_vm_at(target, port).await
}

fn habits(host: &PrivateKey, mine: &PrivateKey) -> Habits {
    Habits {
        host_keys: vec![host.clone()],
        lets_in: mine.public_key().clone(),
        wants_more: false,
    }
}

#[tokio::test]
async fn a_vm_with_a_pinned_key_runs_commands_with_much_input() {
    let (host, mine) = (key(), key());
    let remote = connect(habits(&host, &mine), &mine, &[&key(), &host])
        .await
        .unwrap();
    let out = remote
        .exec("count", &vec![b'x'; 3 << 20], LIMIT)
        .await
        .unwrap();
    assert_eq!((out.status, out.stdout.as_str()), (3, "3145728"));
    assert_eq!(out.last_words(), "\u{fffd}\u{fffd} broken text");
    assert!(!out.cut);
    assert_eq!(
        remote.exec("kill", b"", LIMIT).await.unwrap().status,
        128 + 15
    );
}

/// The rest of an output that came later was taken for nothing: half a file was the whole one.
#[tokio::test]
async fn an_output_whose_end_did_not_come_is_cut() {
    let (host, mine) = (key(), key());
    let remote = connect(habits(&host, &mine), &mine, &[&host])
        .await
        .unwrap();
    let out = remote.exec("stall", b"four", LIMIT).await.unwrap();
    assert_eq!((out.status, &*out.stdout, out.cut), (3, "4", true));
}

#[tokio::test]
async fn a_connection_that_vanishes_is_lost_and_made_again() {
    let (host, mine) = (key(), key());
    let remote = connect(habits(&host, &mine), &mine, &[&host])
        .await
        .unwrap();
    assert_eq!(
        remote.exec("vanish", b"", LIMIT).await.unwrap_err().code,
        Code::SshLost
    );
    assert_eq!(
        remote.exec("count", b"four", LIMIT).await.unwrap().stdout,
        "4"
    );
}

#[tokio::test]
async fn another_machine_at_the_vms_address_is_refused_for_good() {
    let (host, mine) = (key(), key());
    let failure = connect(habits(&host, &mine), &mine, &[&key()])
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::HostKeyChanged);
    assert!(failure.is_permanent());
    let failure = connect(habits(&host, &mine), &mine, &[])
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::HostKeyUnknown);
}

/// An image's keys were read twice, alike, before its first boot made others: init ended at once.
#[tokio::test]
async fn host_keys_that_were_made_again_are_read_once_more() {
    let (baked, made, mine) = (key(), key(), key());
    let readings = Readings::new(&[Some(&[&baked]), Some(&[&made]), None]);
    let remote = connect_reading(habits(&made, &mine), &mine, &readings)
        .await
        .unwrap();
    // A connection that is made again goes by the new ones.
    assert!(remote.exec("vanish", b"", LIMIT).await.is_err());
    remote.exec("count", b"four", LIMIT).await.unwrap();
    assert_eq!(readings.left(), 1);
}

#[tokio::test]
async fn a_key_that_the_api_does_not_report_is_never_accepted() {
    let (host, mine) = (key(), key());
    let readings = Readings::new(&[Some(&[&key()]), Some(&[&key()]), Some(&[&host])]);
    let failure = connect_reading(habits(&host, &mine), &mine, &readings)
        .await
        .map(drop)
        .unwrap_err();
    assert!(failure.code == Code::HostKeyChanged && failure.is_permanent());
    // One more reading, and no third.
    assert_eq!(readings.left(), 1);
    // While they are being made, nothing is known of the key, and nothing is lasting.
    let readings = Readings::new(&[Some(&[&key()]), None]);
    let failure = connect_reading(habits(&host, &mine), &mine, &readings)
        .await
        .map(drop)
        .unwrap_err();
    assert!(failure.code == Code::Vm && !failure.is_permanent());
}

#[tokio::test]
async fn a_vm_that_has_no_key_yet_is_waited_for() {
    let (host, mine) = (key(), key());
    let failure = connect(habits(&host, &key()), &mine, &[&host])
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::Vm);
    assert!(!failure.is_permanent());
    let more = Habits {
        wants_more: true,
        ..habits(&host, &mine)
    };
    assert!(connect(more, &mine, &[&host]).await.is_err());
}
