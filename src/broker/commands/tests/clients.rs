//! `CLIENT LIST`, `INFO` and `KILL`.

use super::*;

/// The values of some fields of a client's line.
fn fields(line: &str, names: &[&str]) -> Vec<String> {
    let value = |name: &&str| {
        let field = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        field.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
    };
    names.iter().map(value).collect()
}

#[test]
fn a_clients_line_shows_its_names_and_its_state() {
    let mut broker = Broker::new(None);
    let (mut busy, mut asking) = (broker.connect(), broker.connect());
    for command in [
        "HELLO 3 SETNAME feed",
        "CLIENT SETINFO lib-name redis-py",
        "CLIENT SETINFO LIB-VER 5.0",
        "SELECT 7",
        "SUBSCRIBE a b",
        "PSUBSCRIBE c*",
        "SSUBSCRIBE d",
        "MULTI",
        "PUBLISH x yz",
    ] {
        broker.ask(&mut busy, command);
    }
    let list = broker.ask(&mut asking, "CLIENT LIST");
    let lines: Vec<_> = list.lines().skip(1).collect();
    let names = [
        "id", "addr", "laddr", "fd", "name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user",
        "resp", "lib-name", "lib-ver",
    ];
    assert_eq!(
        fields(lines[0], &names),
        [
            "1",
            "127.0.0.1:40001",
            "127.0.0.1:6379",
            "9",
            "feed",
            "Px",
            "7",
            "2",
            "1",
            "1",
            "1",
            "publish",
            "default",
            "3",
            "redis-py",
            "5.0"
        ]
    );
    assert_eq!(
        fields(lines[1], &["id", "name", "flags", "multi", "cmd"]),
        ["2", "", "N", "-1", "client|list"]
    );
    assert_eq!(
        broker.ask(&mut asking, "CLIENT LIST ID 9 1 1"),
        broker.ask(&mut asking, "CLIENT LIST TYPE pubsub")
    );
    assert!(broker.ask(&mut asking, "CLIENT INFO").contains(" cmd=client|info "));
    assert_eq!(fields(lines[0], &["multi-mem"])[0].parse::<usize>().ok().filter(|bytes| *bytes > 10), {
        broker.hub.peer(busy.session.id).map(|peer| peer.queued_bytes)
    });
}

#[test]
fn names_must_be_short_and_of_visible_characters() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    for command in ["CLIENT SETNAME", "CLIENT SETINFO lib-name", "CLIENT SETINFO lib-ver", "HELLO 3 SETNAME"]
    {
        let answer = broker.ask(&mut peer, &format!("{command} {}", "x".repeat(257)));
        assert!(answer.starts_with("-ERR ") && answer.contains("256 bytes"), "{command}: {answer}");
        let answer = broker.ask(&mut peer, &format!("{command} a\nb"));
        assert!(answer.contains("cannot contain spaces"), "{command}: {answer}");
    }
    let peer = broker.hub.peer(peer.session.id).expect("it is connected");
    assert!(peer.name.is_empty() && peer.library.name.is_empty() && peer.library.version.is_empty());
}

#[test]
fn a_killed_client_is_gone_for_everyone() {
    let mut broker = Broker::new(None);
    let (mut victim, mut killer) = (broker.connect(), broker.connect());
    broker.ask(&mut victim, "SUBSCRIBE a");
    assert_eq!(broker.ask(&mut killer, "CLIENT KILL ID 1 TYPE normal"), ":0\r\n");
    assert_eq!(broker.ask(&mut killer, "CLIENT KILL 127.0.0.1:40001"), "+OK\r\n");
    assert_eq!(broker.ask(&mut killer, "CLIENT KILL 127.0.0.1:40001"), "-ERR No such client\r\n");
    assert_eq!(broker.ask(&mut killer, "PUBLISH a x"), ":0\r\n");
    assert_eq!(broker.ask(&mut killer, "CLIENT LIST ID 1"), "$0\r\n\r\n");
    assert!(broker.hub.peer(victim.session.id).is_none(), "nothing of it runs any more");
    assert_eq!(victim.outbox.try_take(&mut Vec::new()), Err(Cut::Killed));
}

#[test]
fn a_client_that_kills_itself_gets_its_answer() {
    let mut broker = Broker::new(None);
    let (mut killer, _other) = (broker.connect(), broker.connect());
    assert_eq!(broker.run(&mut killer, "CLIENT KILL USER default"), (":1\r\n".to_owned(), Flow::Continue));
    assert_eq!(
        broker.run(&mut killer, "CLIENT KILL USER default SKIPME no"),
        (":1\r\n".to_owned(), Flow::Close)
    );
}
