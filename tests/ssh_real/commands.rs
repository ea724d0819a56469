//! Commands: their streams, limits, terminals, and connections that are lost under them.

use std::time::Duration;

use slicer_k3s::failure::Code;
use slicer_k3s::remote::Input;

use crate::LIMIT;
use crate::sshd::House;

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_with_stdin_both_outputs_and_their_exit_status() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let out = remote
        .exec("cat; echo oops >&2; exit 7", b"hello", LIMIT)
        .await
        .unwrap();
    assert_eq!(
        (out.status, out.stdout.as_str(), out.last_words()),
        (7, "hello", "oops")
    );
    let killed = remote.exec("kill -9 $$", b"", LIMIT).await.unwrap();
    assert_eq!(killed.status, 128 + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_input_and_output_at_once_do_not_block_each_other() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let big = vec![b'x'; 3 << 20];
    let out = remote.exec("cat", &big, LIMIT).await.unwrap();
    assert_eq!(out.stdout.len(), big.len());
    // More than is kept is read and dropped; input that nobody reads does not hold the command up.
    let out = remote
        .exec("head -c 6000000 /dev/zero | tr '\\0' y", &big, LIMIT)
        .await
        .unwrap();
    assert_eq!(
        (out.status, out.stdout.len()),
        (0, slicer_k3s::remote::OUTPUT_LIMIT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_the_server_has_sessions_wait_for_their_turn() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let all = (0..24).map(|_| remote.exec("sleep 0.1; echo done", b"", LIMIT));
    for out in futures_util::future::join_all(all).await {
        assert_eq!(out.unwrap().stdout, "done\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_past_its_limit_fails_and_the_connection_lives_on() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    for _ in 0..12 {
        let failure = remote
            .exec("sleep 60", b"", Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::Command);
    }
    assert!(remote.exec("true", b"", LIMIT).await.unwrap().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_command_is_said_and_the_next_command_reconnects() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let failure = remote
        .exec("kill -9 $PPID; sleep 5", b"", LIMIT)
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::SshLost, "{failure}");
    assert!(!failure.is_permanent());
    assert!(remote.exec("true", b"", LIMIT).await.unwrap().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_command_reads_its_input_has_a_terminal_if_asked_and_gives_its_status() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let file = house.path("typed");
    let input = Input::Bytes(b"typed\n".to_vec());
    let command = format!("cat > {}; test -t 0 || exit 5", file.display());
    assert_eq!(remote.attach(&command, input, false).await.unwrap(), 5);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "typed\n");
    let nothing = Input::Bytes(Vec::new());
    let terminal = "test -t 0 && test -t 1 && exit 9";
    assert_eq!(remote.attach(terminal, nothing, true).await.unwrap(), 9);
}
