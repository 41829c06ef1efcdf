use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::broker::OutputLimits;
use crate::broker::outbox::Outbox;

/// A broker without sockets: sessions, and what each has been sent.
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
            settings: Settings { password: password.map(str::to_owned), port: 6379 },
            hub: Hub::new(&["channel:trade:*".to_owned()], Instant::now()),
            events: Vec::new(),
        }
    }

    fn connect(&mut self) -> Peer {
        let outbox = Arc::new(Outbox::new(OutputLimits::REDIS));
        let id = self.hub.attach(outbox.clone());
        Peer { session: Session::new(id, &self.settings), outbox }
    }

    /// The reply to a command of words without spaces.
    fn ask(&mut self, peer: &mut Peer, command: &str) -> String {
        self.run(peer, command).0
    }

    fn run(&mut self, peer: &mut Peer, command: &str) -> (String, Flow) {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let (mut turn, mut out) = (Turn::new(Instant::now()), Vec::new());
        let flow = peer.session.execute(&args, &self.settings, &mut self.hub, &mut turn, &mut out);
        self.events.extend(turn.events.iter().map(|(channel, payload)| (channel.to_vec(), payload.to_vec())));
        (String::from_utf8(out).expect("replies are text here"), flow)
    }
}

impl Peer {
    /// The messages that were published to it since it was last asked.
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
    assert_eq!(broker.hub.client_count(), 1);
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
fn a_browsers_request_ends_the_connection_unanswered() {
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
fn clients_that_wait_for_a_server_to_load_are_not_kept_waiting() {
    let mut broker = Broker::new(None);
    let mut peer = broker.connect();
    let info = broker.ask(&mut peer, "INFO");
    for line in ["redis_version:7.2.0\r\n", "loading:0\r\n", "tcp_port:6379\r\n", "connected_clients:1\r\n"] {
        assert!(info.contains(line), "{line:?} in {info}");
    }
    assert!(broker.ask(&mut peer, "INFO clients").ends_with("\r\n# Clients\r\nconnected_clients:1\r\n\r\n"));
    assert_eq!(broker.ask(&mut peer, "INFO nothing"), "$0\r\n\r\n");
}
