//! `MULTI` to `EXEC`: queued commands take effect together, and their memory is bounded.

use super::*;

#[test]
fn queued_commands_take_effect_at_exec() {
    let mut broker = Broker::new(None);
    let (mut peer, mut subscriber) = (broker.connect(), broker.connect());
    broker.ask(&mut subscriber, "SUBSCRIBE channel:trade:A");
    assert_eq!(broker.ask(&mut peer, "MULTI"), "+OK\r\n");
    for command in ["PUBLISH channel:trade:A 1", "FOO2", "PUBLISH channel:trade:A 2"] {
        broker.ask(&mut peer, command);
    }
    assert!(broker.ask(&mut peer, "EXEC").starts_with("-EXECABORT "));
    assert_eq!((subscriber.messages().as_str(), broker.events.len()), ("", 0), "nothing of it happens");
    let commands = ["MULTI", "PUBLISH channel:trade:A 1", "ECHO x", "PUBLISH channel:trade:A 2"];
    assert_eq!(broker.turn(&mut peer, &commands).0, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!((subscriber.messages().as_str(), broker.events.len()), ("", 0), "nothing happens yet");
    assert_eq!(broker.ask(&mut peer, "EXEC"), "*3\r\n:2\r\n$1\r\nx\r\n:2\r\n");
    assert_eq!(broker.events.len(), 2);
    assert_eq!(subscriber.messages().matches("channel:trade:A").count(), 2);
    assert_eq!(broker.ask(&mut peer, "PING"), "+PONG\r\n", "the transaction is over");
}

/// Redis up to 7.0 writes them between the elements of a RESP3 reply, which breaks it for its reader.
#[test]
fn messages_to_oneself_come_behind_the_whole_reply_to_exec() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    broker.ask(&mut peer, "HELLO 3");
    broker.ask(&mut peer, "SUBSCRIBE a");
    let message = |text| format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n{text}\r\n");
    let (replies, flow) = broker.turn(&mut peer, &["MULTI", "PUBLISH a x", "PING", "PUBLISH a y", "EXEC"]);
    let expected = format!("*3\r\n:1\r\n+PONG\r\n:1\r\n{}{}", message('x'), message('y'));
    assert_eq!(replies.split_once("*3").map(|(_, exec)| format!("*3{exec}")), Some(expected));
    assert_eq!(flow, Flow::Flush, "nobody else's message may overtake them");
    assert_eq!(peer.messages(), "");
}

#[test]
fn the_bytes_that_a_client_queues_are_bounded() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    let command = format!("PUBLISH channel:trade:A {}", "x".repeat(1_000_000));
    let answers: Vec<_> =
        ["MULTI"].into_iter().chain([&*command; 10]).map(|command| broker.ask(&mut peer, command)).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "+QUEUED\r\n").count(), 9, "8 fit");
    assert!(answers[9].starts_with("-OOM command not allowed"), "{}", answers[9]);
    assert_eq!(broker.hub.queued_bytes(), 0, "commands that will not run are not kept");
    assert!(broker.ask(&mut peer, "EXEC").starts_with("-EXECABORT "));
    assert!(broker.events.is_empty());
    // Transactions that end in one turn don't add up.
    let mut commands = vec!["MULTI"];
    commands.extend([&*command; 8]);
    broker.turn(&mut peer, &commands);
    let (replies, _) = broker.turn(&mut peer, &["EXEC", "MULTI", &command, "EXEC"]);
    assert!(replies.ends_with("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"), "{replies}");
    assert_eq!((broker.events.len(), broker.hub.queued_bytes()), (9, 0));
}

#[test]
fn many_small_commands_count_with_the_memory_that_they_take() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    broker.ask(&mut peer, "MULTI");
    let mut queued = 0;
    while broker.ask(&mut peer, "PING") == "+QUEUED\r\n" {
        queued += 1;
        assert!(queued < 1_000_000, "an end comes");
    }
    assert!(queued > 100_000, "{queued}");
}

#[test]
fn the_bytes_that_all_clients_queue_are_bounded() {
    let mut broker = Broker::new(None);
    let command = format!("PUBLISH channel:trade:A {}", "x".repeat(1_000_000));
    let mut peers: Vec<_> = (0..10).map(|_| broker.connect()).collect();
    for peer in &mut peers {
        broker.ask(peer, "MULTI");
        (0..8).for_each(|_| drop(broker.ask(peer, &command)));
    }
    assert!(broker.ask(&mut peers[9], "EXEC").starts_with("-EXECABORT "));
    assert!(broker.ask(&mut peers[0], "EXEC").starts_with("*8\r\n"));
    assert_eq!(broker.events.len(), 8);
    broker.ask(&mut peers[1], "DISCARD");
    broker.ask(&mut peers[2], "RESET");
    assert!(broker.turn(&mut peers[9], &["MULTI", &command, "EXEC"]).0.ends_with("*1\r\n:1\r\n"));
    for peer in peers {
        broker.hub.detach(peer.session.id);
    }
    assert_eq!(broker.hub.queued_bytes(), 0, "a client that disconnects releases its bytes");
}

#[test]
fn a_reply_that_is_too_long_ends_the_connection_but_not_the_transaction() {
    let mut broker = Broker::new(None);
    broker.settings.output.hard_bytes = 100_000;
    let mut peer = broker.connect();
    let echo = format!("ECHO {}", "x".repeat(30_000));
    let commands =
        ["MULTI", &echo, &echo, &echo, &echo, "PUBLISH channel:trade:A 1", &echo, "SUBSCRIBE a", "EXEC"];
    let (replies, flow) = broker.turn(&mut peer, &commands);
    assert_eq!(flow, Flow::Close);
    assert!((100_000..140_000).contains(&replies.len()), "{}", replies.len());
    assert_eq!(broker.events, [(b"channel:trade:A".to_vec(), b"1".to_vec())]);
}

/// Also as far as it concerns inboxes.
#[test]
fn what_a_transaction_does_to_streams_happens_whole() {
    let mut broker = Broker::new(None);
    broker.settings.output.hard_bytes = 100_000;
    let (mut peer, mut other) = (broker.connect(), broker.connect());
    for command in
        ["XADD deleted 1-1 f v", "XADD shortened 1-1 f v", "XADD ended 1-1 f v", "XADD grouped 1-1 f v"]
    {
        assert_eq!(broker.ask(&mut other, command), "$3\r\n1-1\r\n");
    }
    let echo = format!("ECHO {}", "x".repeat(30_000));
    let commands = [
        "MULTI",
        &echo,
        &echo,
        &echo,
        &echo,
        "XADD added 1-1 f v",
        "XDEL shortened 1-1",
        "XGROUP CREATE grouped g 0",
        "PEXPIRE ended 0",
        "DEL deleted",
        "EXEC",
    ];
    assert_eq!(broker.turn(&mut peer, &commands).1, Flow::Close);
    for (key, len) in [("added", 1), ("shortened", 0), ("ended", 0), ("deleted", 0), ("grouped", 1)] {
        assert_eq!(broker.ask(&mut other, &format!("XLEN {key}")), format!(":{len}\r\n"), "{key}");
    }
    assert!(broker.ask(&mut other, "XGROUP CREATE grouped g 0").starts_with("-BUSYGROUP "));
}
