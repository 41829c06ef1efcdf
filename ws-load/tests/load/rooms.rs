//! People who talk in rooms: everyone hears everything in one order, and what is otherwise is noticed.

use ws_gateway::config::Config;

use super::{Fault, Server, loaded_through};

/// A gateway with rooms; with keys if it has a secret.
async fn desk(secret: Option<&str>) -> Server {
    let mut config = Config::for_tests();
    config.desk.is_on = true;
    config.access.secret_key = secret.map(str::to_owned);
    Server::with(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_hear_all_that_is_said_in_their_rooms() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let server = desk(Some(SECRET)).await;
    let secret_file = ["--secret-file", file.to_str().unwrap()];
    for (arguments, connections, members, said) in [
        (&["--preset", "rooms", "--rooms", "7", "--members", "4", "--rate", "10"][..], 28, 4, 70),
        (&["--preset", "lobby", "--members", "60", "--rate", "50", "--workers", "2"], 60, 60, 50),
        (
            &["--preset", "rooms", "--rooms", "2", "--members", "5", "--talkers", "1", "--form", "batch"],
            10,
            5,
            10,
        ),
    ] {
        let run = server.load(&[arguments, &secret_file].concat()).await;
        run.assert_clean();
        assert_eq!((run.number("/connections/opened"), run.number("/published/total")), (connections, said));
        let expected = run.number("/events/expected");
        assert_eq!((expected, run.number("/events/delivered")), (said * members, said * members));
        assert_eq!((run.number("/events/ordersDiffer"), run.number("/events/unsaid")), (0, 0));
        let in_window = run.number("/published/inWindow");
        assert_eq!(run.number("/latencyUs/count"), in_window * members, "{}", run.report);
        assert_eq!(run.number("/published/lateUs/count"), in_window);
        assert!(run.stderr.contains("every room in one order"), "{}", run.stderr);
    }
    // Without a token nobody gets in.
    let run = server.load(&["--preset", "lobby", "--members", "3"]).await;
    run.assert_bad();
    assert!(run.report["connections"]["failed"].to_string().contains("UNAUTHORIZED"), "{}", run.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hears_another_order_is_noticed() {
    let arguments = ["--preset", "lobby", "--members", "4", "--rate", "150"];
    let (run, faults) = loaded_through(&desk(None).await, Fault::SwapOnce, &arguments).await;
    run.assert_bad();
    assert_eq!((faults, run.number("/events/ordersDiffer")), (1, 1), "{}", run.report);
    // Its talkers' own orders were kept.
    assert_eq!(run.event_counts(), [150 * 4, 0, 0, 0, 0, 0]);
    assert!(run.stderr.contains("1 of 1 rooms NOT in one order"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_of_a_room_is_missed() {
    let arguments = ["--preset", "lobby", "--members", "4", "--rate", "150"];
    let (run, faults) = loaded_through(&desk(None).await, Fault::Drop, &arguments).await;
    run.assert_bad();
    assert_eq!(run.event_counts(), [150 * 4 - faults, faults, 0, 0, 0, 0], "{}", run.report);
}
