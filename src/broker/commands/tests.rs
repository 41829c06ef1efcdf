use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::broker::outbox::{Cut, Outbox};
use crate::broker::peer::Endpoints;
use crate::broker::streams::Streams;

mod clients;
mod transactions;

/// A broker without sockets: sessions and their outboxes.
struct Broker {
    settings: Settings,
    hub: Hub,
    events: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Peer {
    session: Session,
    outbox: Arc<Outbox>,
}

impl Broker {
    fn new(password: Option<&str>) -> Self {
        Self {
            settings: Settings {
                password: password.map(str::to_owned),
                host: Ipv4Addr::LOCALHOST.into(),
                port: 6379,
                clients_max: 256,
                output: OutputLimits::REDIS,
            },
            hub: Hub::new(&["channel:trade:*".to_owned()], Some(Streams::new(100_000)), Instant::now()),
            events: Vec::new(),
        }
    }

    fn connect(&mut self) -> Peer {
        let outbox = Arc::new(Outbox::new(OutputLimits::REDIS));
        let endpoints = Endpoints {
            peer: (Ipv4Addr::LOCALHOST, 40_001 + self.hub.peers().count() as u16).into(),
            local: (Ipv4Addr::LOCALHOST, 6379).into(),
            descriptor: 9,
        };
        let id = self.hub.attach(outbox.clone(), endpoints, Instant::now());
        Peer { session: Session::new(id, &self.settings), outbox }
    }

    /// Runs a command of words without spaces, and returns the reply.
    fn ask(&mut self, peer: &mut Peer, command: &str) -> String {
        self.run(peer, command).0
    }

    fn run(&mut self, peer: &mut Peer, command: &str) -> (String, Flow) {
        self.turn(peer, &[command])
    }

    /// Runs the commands in one turn. Returns their replies, and the last command's [`Flow`].
    fn turn(&mut self, peer: &mut Peer, commands: &[&str]) -> (String, Flow) {
        let wall = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
        let (mut turn, mut out) = (Turn::new(Instant::now(), wall), Vec::new());
        let mut flow = Flow::Continue;
        for command in commands {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            flow = peer.session.execute(&args, &self.settings, &mut self.hub, &mut turn, &mut out);
        }
        self.events.extend(turn.events.iter().map(|(channel, payload)| (channel.to_vec(), payload.to_vec())));
        peer.session.note_activity(&mut self.hub, turn.now);
        self.hub.release_queued(peer.session.id, turn.executed_bytes);
        (String::from_utf8(out).expect("replies are text here"), flow)
    }
}

impl Peer {
    /// Takes the messages that this client has been sent since the last call.
    fn messages(&self) -> String {
        let mut bytes = Vec::new();
        self.outbox.push(Instant::now(), |out| std::mem::swap(out, &mut bytes));
        String::from_utf8(bytes).expect("messages are text here")
    }
}

#[test]
fn a_message_reaches_every_matching_subscription_and_the_gateway() {
    let mut broker = Broker::new(None);
    let (mut two, mut three, mut publisher) = (broker.connect(), broker.connect(), broker.connect());
    broker.ask(&mut two, "SUBSCRIBE channel:trade:A");
    broker.ask(&mut two, "PSUBSCRIBE channel:*");
    broker.ask(&mut three, "HELLO 3");
    broker.ask(&mut three, "SUBSCRIBE channel:trade:A");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH channel:trade:A x"), ":4\r\n");
    assert_eq!(
        two.messages(),
        "*3\r\n$7\r\nmessage\r\n$15\r\nchannel:trade:A\r\n$1\r\nx\r\n\
         *4\r\n$8\r\npmessage\r\n$9\r\nchannel:*\r\n$15\r\nchannel:trade:A\r\n$1\r\nx\r\n"
    );
    assert_eq!(three.messages(), ">3\r\n$7\r\nmessage\r\n$15\r\nchannel:trade:A\r\n$1\r\nx\r\n");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH channel:quote:A y"), ":1\r\n");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH other z"), ":0\r\n");
    assert_eq!(broker.events, [(b"channel:trade:A".to_vec(), b"x".to_vec())]);
}

#[test]
fn after_an_unsubscription_nothing_follows() {
    let mut broker = Broker::new(None);
    let (mut peer, mut publisher) = (broker.connect(), broker.connect());
    broker.ask(&mut peer, "SUBSCRIBE a b");
    assert_eq!(broker.ask(&mut peer, "UNSUBSCRIBE a"), "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH a x"), ":0\r\n");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH b x"), ":1\r\n");
    broker.hub.detach(peer.session.id);
    assert_eq!(broker.ask(&mut publisher, "PUBLISH b x"), ":0\r\n");
    assert_eq!(broker.hub.peers().count(), 1);
}

#[test]
fn changes_of_subscriptions_are_flushed_before_anything_is_published() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    for command in ["SUBSCRIBE a", "PSUBSCRIBE a*", "UNSUBSCRIBE", "PUNSUBSCRIBE", "HELLO 3", "RESET"] {
        assert_eq!(broker.run(&mut peer, command).1, Flow::Flush, "{command}");
    }
    assert_eq!(broker.run(&mut peer, "PING").1, Flow::Continue);
    assert_eq!(broker.run(&mut peer, "QUIT"), ("+OK\r\n".to_owned(), Flow::Close));
}

#[test]
fn nothing_runs_without_the_password() {
    let mut broker = Broker::new(Some("secret"));
    let mut peer = broker.connect();
    let refused = "-NOAUTH Authentication required.\r\n";
    for command in ["PING", "PUBLISH channel:trade:A x", "SUBSCRIBE a", "PUBSUB NUMPAT", "INFO", "CLIENT ID"]
    {
        assert_eq!(broker.ask(&mut peer, command), refused, "{command}");
    }
    assert!(broker.ask(&mut peer, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    for command in
        ["AUTH wrong", "AUTH secret1", "AUTH secre", "AUTH other secret", "HELLO 3 AUTH default no"]
    {
        assert!(broker.ask(&mut peer, command).starts_with("-WRONGPASS "), "{command}");
    }
    assert!(!peer.session.authenticated());
    assert!(broker.events.is_empty());
    assert_eq!(broker.ask(&mut peer, "AUTH default secret"), "+OK\r\n");
    assert!(broker.ask(&mut peer, "AUTH wrong").starts_with("-WRONGPASS "));
    assert_eq!(broker.ask(&mut peer, "PING"), "+PONG\r\n", "a failed AUTH takes nothing away");
    assert_eq!(broker.ask(&mut peer, "RESET"), "+RESET\r\n");
    assert_eq!(broker.ask(&mut peer, "PING"), refused);
    assert!(broker.ask(&mut peer, "HELLO 3 AUTH default secret SETNAME me").starts_with("%7\r\n"));
    assert_eq!(broker.ask(&mut peer, "CLIENT GETNAME"), "$2\r\nme\r\n");
}

#[test]
fn an_http_request_ends_the_connection_unanswered() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    assert_eq!(broker.run(&mut peer, "POST / HTTP/1.1"), (String::new(), Flow::Close));
    assert_eq!(broker.run(&mut peer, "Host: localhost:6379"), (String::new(), Flow::Close));
}

#[test]
fn the_gateways_patterns_are_counted_once() {
    let mut broker = Broker::new(None);
    let (mut peer, mut asking) = (broker.connect(), broker.connect());
    assert_eq!(broker.ask(&mut asking, "PUBSUB NUMPAT"), ":1\r\n");
    broker.ask(&mut peer, "PSUBSCRIBE channel:trade:* other");
    assert_eq!(broker.ask(&mut asking, "PUBSUB NUMPAT"), ":2\r\n");
}

#[test]
fn info_says_that_nothing_is_loading() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    let info = broker.ask(&mut peer, "INFO");
    for line in ["redis_version:7.2.0\r\n", "loading:0\r\n", "tcp_port:6379\r\n", "connected_clients:1\r\n"] {
        assert!(info.contains(line), "{line:?} in {info}");
    }
    assert!(broker.ask(&mut peer, "INFO clients").ends_with("\r\n# Clients\r\nconnected_clients:1\r\n\r\n"));
    assert_eq!(broker.ask(&mut peer, "INFO nothing"), "$0\r\n\r\n");
}

#[test]
fn time_answers_in_seconds_and_microseconds() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    assert_eq!(broker.ask(&mut peer, "TIME"), "*2\r\n$10\r\n1700000000\r\n$2\r\n42\r\n");
}

#[test]
fn config_get_does_not_show_the_password() {
    let mut broker = Broker::new(Some("secret"));
    let mut peer = broker.connect();
    broker.ask(&mut peer, "AUTH secret");
    let all = broker.ask(&mut peer, "CONFIG GET *");
    assert!(all.contains("maxclients\r\n$3\r\n256\r\n") && !all.contains("secret"), "{all}");
    assert_eq!(broker.ask(&mut peer, "CONFIG GET PORT nothing P?RT"), "*2\r\n$4\r\nport\r\n$4\r\n6379\r\n");
}

#[test]
fn shard_channels_reach_neither_patterns_nor_the_gateway() {
    let mut broker = Broker::new(None);
    let (mut of_shard, mut of_pattern, mut publisher) =
        (broker.connect(), broker.connect(), broker.connect());
    broker.ask(&mut of_shard, "SSUBSCRIBE channel:trade:A");
    broker.ask(&mut of_pattern, "PSUBSCRIBE *");
    assert_eq!(broker.ask(&mut publisher, "SPUBLISH channel:trade:A x"), ":1\r\n");
    assert_eq!(broker.ask(&mut publisher, "PUBLISH channel:trade:A y"), ":2\r\n");
    assert_eq!(of_shard.messages(), "*3\r\n$8\r\nsmessage\r\n$15\r\nchannel:trade:A\r\n$1\r\nx\r\n");
    assert!(of_pattern.messages().ends_with("$1\r\ny\r\n"));
    assert_eq!(broker.events, [(b"channel:trade:A".to_vec(), b"y".to_vec())]);
}
