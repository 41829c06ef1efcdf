//! Shards driven turn by turn in one thread: a router in place of ingest, pipes in place of sockets, a clock that the test sets.

use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mio::Poll;
use serde_json::{Value, json};

use super::clock::Now;
use super::conn::ConnKey;
use super::{Ready, Shard, ShardConfig, ShardHandles};
use crate::bus::{
    Arrival, ControlSender, Count, DeskWish, Feed, Newcomer, Standing, Ticket, ToControl, ToShard, TopicId,
    UserSeat, Wish, WishSender,
};
use crate::identity::{Identity, Rights};
use crate::ingest::history::HistoryConfig;
use crate::ingest::router::{Handoff, Router};
use crate::limits;
use crate::market::event::Checker;
use crate::market::{Delay, Delays, Kind, Kinds, Subject, SymbolCase};
use crate::protocol::Dialect;
use crate::protocol::native::read::parse_query;
use crate::protocol::request::Grammar;
use crate::protocol::socketio::namespace::Joined;
use crate::protocol::terms::SlowClientPolicy;
use crate::state::State;
use crate::transport::{Transport, pipe};

/// A pipe that never fills.
pub(super) const ROOMY: usize = usize::MAX / 2;

pub(super) fn config() -> ShardConfig {
    ShardConfig {
        grammar: Grammar::new(Kinds::default(), SymbolCase::Upper),
        max_clients: 16,
        auth_timeout: Duration::from_secs(10),
        max_unauthenticated: 2,
        max_opened_topics: 1_000,
        max_message_bytes: 4_096,
        message_warn_bytes: None,
        message_rate: None,
        max_outbox_bytes: 4_096,
        slow_client_policy: SlowClientPolicy::Skip,
        max_backlog_bytes: 1 << 20,
        ping_interval: Duration::from_secs(30),
        pong_timeout: Duration::from_secs(5),
        max_missed_pongs: 2,
        stall_timeout: Duration::from_secs(600),
        compression: None,
        flush_interval: None,
        desk: None,
    }
}

pub(super) struct World {
    pub(super) now: Rc<Cell<Now>>,
    pub(super) router: Router,
    wishes: Arc<Mutex<Vec<Wish>>>,
    /// What the shards have told the control side.
    pub(super) control: Arc<Mutex<Vec<ToControl>>>,
    /// What they wish of the desk.
    pub(super) desk_wishes: Vec<DeskWish>,
    pub(super) shards: Vec<Shard>,
    told: Vec<VecDeque<ToShard>>,
    seats: Arc<Count>,
    published: u64,
}

#[derive(Clone)]
pub(super) struct Client {
    shard: usize,
    key: ConnKey,
    pub(super) pipe: pipe::Client,
    dialect: Dialect,
}

impl World {
    pub(super) fn new(shards: usize, config: &ShardConfig) -> Self {
        let now = Rc::new(Cell::new(Now { us: 10_000_000, unix_ms: 1_700_000_000_000 }));
        let wishes = Arc::new(Mutex::new(Vec::new()));
        let control = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(State::new("test".to_owned(), shards));
        let history = HistoryConfig { checker: Checker::with_max_bytes(10_000), ..HistoryConfig::default() };
        let new_shard = |id| {
            let (wishes, source) = (Arc::clone(&wishes), Rc::clone(&now));
            let control = Arc::clone(&control);
            let handles = ShardHandles {
                id,
                wishes: WishSender::new(move |wish| wishes.lock().unwrap().push(wish)),
                control: ControlSender::new(move |told| control.lock().unwrap().push(told)),
                replay_budget: Arc::default(),
                state: Arc::clone(&state),
                load: Arc::new(AtomicUsize::new(100)),
            };
            let registry = Poll::new().unwrap().registry().try_clone().unwrap();
            Shard::new(registry, config.clone(), handles, Box::new(move || source.get()))
        };
        Self {
            shards: (0..shards).map(new_shard).collect(),
            told: (0..shards).map(|_| VecDeque::new()).collect(),
            router: Router::with_delays(shards, true, &history, &delays()),
            seats: Count::of(100),
            published: 0,
            now,
            wishes,
            control,
            desk_wishes: Vec::new(),
        }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let Now { us, unix_ms } = self.now.get();
        let ms = time.as_millis() as u64;
        self.now.set(Now { us: us + ms * 1_000, unix_ms: unix_ms + ms });
        self.turn();
    }

    /// What ingest does in a turn: answers wishes, hands over what is framed.
    fn hand_over(&mut self) {
        for shard in 0..self.shards.len() {
            let Handoff { opened, batches } = self.router.take(shard, self.now.get().us);
            if !opened.is_empty() {
                self.told[shard].push_back(ToShard::Opened(opened));
            }
            self.told[shard].extend(batches.into_iter().map(|batch| ToShard::Batch(batch.frames)));
        }
    }

    fn answer_wishes(&mut self) {
        let wishes = std::mem::take(&mut *self.wishes.lock().unwrap());
        for wish in wishes {
            self.hand_over();
            match wish {
                Wish::Want { shard, ticket, subjects, history } => {
                    let want = |subject: &_| self.router.want(shard, subject);
                    let ids: Vec<_> = subjects.iter().map(want).collect();
                    let reply =
                        history.map(|asked| Box::new(self.router.recall(&subjects, &asked, 1_000, 0)));
                    self.hand_over();
                    let topics = subjects.into_iter().zip(ids).collect();
                    self.told[shard].push_back(ToShard::Granted { ticket, topics, history: reply });
                }
                Wish::Release { shard, topics } => {
                    topics.into_iter().for_each(|topic| self.router.release(shard, topic));
                }
                Wish::Desk(wish) => self.desk_wishes.push(wish),
                Wish::Retire { shard, topics } => {
                    topics.iter().for_each(|topic| self.router.retire(shard, *topic));
                    self.told[shard].push_back(ToShard::Retired(topics));
                }
            }
        }
    }

    /// Has every shard take turns until nothing is left to do at this time.
    fn turn(&mut self) {
        for _ in 0..20 {
            self.answer_wishes();
            self.hand_over();
            for (shard, told) in self.shards.iter_mut().zip(&mut self.told) {
                shard.turn(told.drain(..), std::iter::empty());
            }
        }
        assert!(self.wishes.lock().unwrap().is_empty());
    }

    pub(super) fn tell(&mut self, shard: usize, command: ToShard) {
        self.told[shard].push_back(command);
        self.turn();
    }

    pub(super) fn connect(&mut self, shard: usize, room_bytes: usize) -> Client {
        let rights = Rights::of_gateway(true, 100);
        self.connect_as(shard, room_bytes, Standing::Known(Arc::new(Identity::anonymous(rights))))
    }

    pub(super) fn connect_as(&mut self, shard: usize, room_bytes: usize, standing: Standing) -> Client {
        self.connect_in(shard, room_bytes, standing, None)
    }

    pub(super) fn connect_in(
        &mut self,
        shard: usize,
        room_bytes: usize,
        standing: Standing,
        user_seat: Option<Arc<UserSeat>>,
    ) -> Client {
        let arriving = |client| Newcomer { standing, user_seat, ..client };
        self.arrive(shard, room_bytes, arriving)
    }

    /// A client connects and asks for these symbols in its URL.
    fn connect_speaking(
        &mut self,
        shard: usize,
        room_bytes: usize,
        dialect: Dialect,
        symbols: &[&str],
    ) -> Client {
        let request = parse_query(symbols, &self.shards[shard].config.grammar);
        let request = Some(Box::from([request]));
        self.arrive(shard, room_bytes, |client| Newcomer { dialect, request, ..client })
    }

    fn arrive(
        &mut self,
        shard: usize,
        room_bytes: usize,
        arriving: impl FnOnce(Newcomer) -> Newcomer,
    ) -> Client {
        let (end, pipe) = pipe::pipe(room_bytes);
        let before: Vec<_> = self.shards[shard].conns.keys().collect();
        let standing = Standing::Known(Arc::new(Identity::anonymous(Rights::of_gateway(true, 100))));
        let seat = self.seats.take().unwrap();
        let arrival = Arrival {
            transport: Transport::Pipe(end),
            early: Bytes::new(),
            client: arriving(Newcomer::new(Dialect::Native, standing, seat, None)),
        };
        let dialect = arrival.client.dialect;
        self.tell(shard, ToShard::Adopt(vec![arrival]));
        let key = self.shards[shard].conns.keys().find(|key| !before.contains(key)).unwrap();
        Client { shard, key, pipe, dialect }
    }

    fn ready(&mut self, client: &Client, readable: bool, writable: bool) {
        let ready = Ready { key: client.key, readable, writable, read_closed: false };
        self.shards[client.shard].turn(std::iter::empty(), std::iter::once(ready));
        self.turn();
    }

    /// A client's pipe has room again.
    pub(super) fn writable(&mut self, client: &Client) {
        self.ready(client, false, true);
    }

    fn send_frame(&mut self, client: &Client, opcode: u8, payload: &[u8]) {
        // Masked with zeros: the payload stands as it is.
        let len = u8::try_from(payload.len()).ok().filter(|len| *len < 126).expect("a short frame");
        client.pipe.send(&[&[0x80 | opcode, 0x80 | len, 0, 0, 0, 0], payload].concat());
        self.ready(client, true, false);
    }

    pub(super) fn send_close(&mut self, client: &Client) {
        self.send_frame(client, 8, &1000_u16.to_be_bytes());
    }

    pub(super) fn send(&mut self, client: &Client, message: &Value) {
        self.send_frame(client, 1, message.to_string().as_bytes());
    }

    pub(super) fn subscribe(&mut self, client: &Client, symbols: &[&str]) {
        self.send(client, &json!({"action": "subscribe", "symbols": symbols}));
        let told = client.received();
        assert_eq!(told.last().unwrap()["type"], "success", "{told:?}");
    }

    /// The id by which shard 0 knows a topic, or is about to.
    fn topic(&mut self, name: &str) -> TopicId {
        self.router.want(0, &subject(name))
    }

    pub(super) fn publish(&mut self, symbol: &str, count: usize) {
        self.publish_in(Delay::NONE, symbol, count);
    }

    /// Events of a feed are lost before they are routed.
    pub(super) fn lose(&mut self, delay: Delay, symbol: &str, count: u64) {
        self.hand_over();
        self.router.lose(delay, Kind::TRADE, symbol.as_bytes(), count);
        for shard in 0..self.shards.len() {
            let lost = self.router.report(shard);
            self.told[shard].extend([ToShard::Opened(lost.opened), ToShard::Lost(lost.counts)]);
        }
        self.turn();
    }

    /// Events of a feed come up: of a delayed one they are due now.
    pub(super) fn publish_in(&mut self, delay: Delay, symbol: &str, count: usize) {
        for _ in 0..count {
            self.published += 1;
            let event =
                json!({"symbol": symbol, "price": self.published, "volume": 1, "timestamp": 1}).to_string();
            self.router.route_in(delay, Kind::TRADE, symbol.as_bytes(), event.as_bytes(), 1);
        }
        self.turn();
    }
}

/// A second, and a minute.
pub(super) fn delays() -> Delays {
    Delays::new([1_000, 60_000].into_iter().filter_map(NonZeroU32::new)).unwrap()
}

impl Client {
    /// Frames since the last call: opcode and payload.
    pub(super) fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.pipe.take();
        let (mut frames, mut rest) = (Vec::new(), bytes.as_slice());
        while let [first, len, tail @ ..] = rest {
            let (len, tail) = match len {
                126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
                127 => panic!("no frame of these tests is so long"),
                len => (usize::from(*len), tail),
            };
            frames.push((first & 0xf, tail[..len].to_vec()));
            rest = &tail[len..];
        }
        frames
    }

    /// Messages since the last call, those of an array one by one.
    pub(super) fn received(&self) -> Vec<Value> {
        if self.dialect == Dialect::Sse {
            let events = self.events().into_iter();
            return events.map(|(_, data)| serde_json::from_str(&data).unwrap()).collect();
        }
        let messages = self.frames().into_iter().filter(|(opcode, _)| *opcode == 1);
        let messages = messages.map(|(_, payload)| serde_json::from_slice(&payload).unwrap());
        let all_of = |message| match (message, self.dialect) {
            (Value::Array(messages), Dialect::Batch) => messages,
            (message, Dialect::Native) => vec![message],
            (other, _) => panic!("{other}"),
        };
        messages.flat_map(all_of).collect()
    }

    /// The events of a stream since the last call: what stands before the data, and that.
    fn events(&self) -> Vec<(String, String)> {
        let text = String::from_utf8(self.pipe.take()).unwrap();
        let events = text.split_terminator("\n\n").filter(|event| *event != ":");
        let parts = events.map(|event| event.split_once("data: ").unwrap_or((event, "null")));
        parts.map(|(before, data)| (before.to_owned(), data.to_owned())).collect()
    }

    /// Close code and reason, if a close frame is the last thing the shard has written.
    pub(super) fn closed(&self) -> Option<(u16, String)> {
        let (opcode, payload) = self.frames().pop()?;
        let (code, reason) = payload.split_at_checked(2)?;
        let reason = String::from_utf8(reason.to_vec()).unwrap();
        (opcode == 8).then_some((u16::from_be_bytes([code[0], code[1]]), reason))
    }
}

fn subject(name: &str) -> Subject {
    Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper).unwrap()
}

pub(super) fn prices(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["data"]["price"].as_u64()).collect()
}

fn skipped(messages: &[Value]) -> u64 {
    messages.iter().filter_map(|message| message["data"]["count"].as_u64()).sum()
}

#[test]
fn events_come_between_the_replies_on_every_shard() {
    let mut world = World::new(2, &config());
    let clients = [world.connect(0, ROOMY), world.connect(1, ROOMY), world.connect(1, ROOMY)];
    world.publish("AAPL", 3);
    clients.iter().for_each(|client| world.subscribe(client, &["AAPL"]));
    world.publish("AAPL", 3);
    for client in &clients {
        assert_eq!(prices(&client.received()), [4, 5, 6]);
    }
    world.send(&clients[0], &json!({"action": "unsubscribe", "symbols": ["AAPL"]}));
    world.publish("AAPL", 1);
    assert_eq!(prices(&clients[0].received()), [0_u64; 0]);
    assert_eq!(prices(&clients[1].received()), [7]);
    assert_eq!(world.router.topics(), 1);
    clients[1..].iter().for_each(|client| world.send_frame(client, 8, &1000_u16.to_be_bytes()));
    assert_eq!(world.router.topics(), 0, "interest ends with the last subscriber");
}

#[test]
fn a_close_of_the_client_is_answered_with_its_own_code() {
    for (payload, code) in
        [(vec![], 1000), (4001_u16.to_be_bytes().to_vec(), 4001), (vec![3, 232, b'x'], 1000)]
    {
        let mut world = World::new(1, &config());
        let client = world.connect(0, ROOMY);
        client.pipe.take();
        world.send_frame(&client, 8, &payload);
        assert_eq!(client.closed().map(|(code, _)| code), Some(code));
        assert!(client.pipe.is_gone() && world.shards[0].conns.is_empty());
        assert_eq!(world.seats.taken(), 0, "the seat is free again");
    }
}

#[test]
fn a_close_of_ours_waits_two_seconds_for_the_peer_s() {
    let mut world = World::new(1, &config());
    let client = world.connect(0, ROOMY);
    // A frame without a mask is a protocol error.
    client.pipe.send(&[0x81, 0]);
    world.ready(&client, true, false);
    assert_eq!(client.closed().unwrap().0, 1002);
    assert!(client.pipe.is_output_closed() && !client.pipe.is_gone());
    world.advance(limits::CLOSE_TIMEOUT - Duration::from_millis(100));
    assert!(!client.pipe.is_gone());
    world.advance(Duration::from_millis(200));
    assert!(client.pipe.is_gone());
}

#[test]
fn a_peer_that_does_not_answer_pings_is_closed_1001() {
    let mut world = World::new(1, &config());
    let (silent, alive) = (world.connect(0, ROOMY), world.connect(0, ROOMY));
    for _ in 0..3 {
        // A ping falls due within the interval, and is judged five seconds later.
        for _ in 0..30 {
            world.advance(Duration::from_secs(1));
            if alive.frames().iter().any(|(opcode, _)| *opcode == 9) {
                world.send_frame(&alive, 10, b"");
            }
        }
    }
    assert_eq!(silent.closed(), Some((1001, "no pong".to_owned())));
    world.advance(limits::CLOSE_TIMEOUT + Duration::from_millis(100));
    assert!(silent.pipe.is_gone() && !alive.pipe.is_gone());
    assert_eq!(world.shards[0].metrics.pong_timeouts.get(), 1);
    assert_eq!(world.shards[0].metrics.connections_dead.get(), 0);
}

/// As if their work were done is how Massive's clients take 1001.
#[test]
fn clients_that_do_not_come_back_at_1001_are_closed_1013() {
    let mut world = World::new(1, &ShardConfig { max_missed_pongs: 1, ..config() });
    let dialects = [Dialect::MassiveStocks, Dialect::MassiveCrypto, Dialect::MassiveForex, Dialect::Finnhub];
    let clients = dialects.map(|dialect| world.arrive(0, ROOMY, |client| Newcomer { dialect, ..client }));
    world.advance(Duration::from_secs(30));
    world.advance(Duration::from_secs(6));
    let codes = clients.map(|client| client.closed().map(|(code, _)| code));
    assert_eq!(codes, [Some(1013), Some(1013), Some(1013), Some(1001)]);
}

#[test]
fn a_client_of_socketio_has_45_seconds_in_no_namespace() {
    let mut world = World::new(1, &config());
    let dialect = Dialect::SocketIo(Joined::NONE);
    let [idle, joined, left] =
        [(); 3].map(|()| world.arrive(0, ROOMY, |client| Newcomer { dialect, ..client }));
    world.send_frame(&joined, 1, b"40");
    world.send_frame(&left, 1, b"40/events,");
    world.advance(Duration::from_secs(44));
    assert!([&idle, &joined, &left].iter().all(|client| client.closed().is_none()));
    world.send_frame(&left, 1, b"41/events,");
    world.advance(Duration::from_secs(2));
    let late = Some((1008, "no namespace joined".to_owned()));
    assert_eq!((idle.closed(), joined.closed(), left.closed()), (late.clone(), None, None));
    world.advance(Duration::from_secs(44));
    assert_eq!((joined.closed(), left.closed()), (None, late), "its time begins when it leaves");
}

#[test]
fn any_frame_counts_as_life() {
    let mut world = World::new(1, &ShardConfig { max_missed_pongs: 1, ..config() });
    let frames: [(u8, &[u8]); 3] = [(1, br#"{"action":"list"}"#), (9, b""), (10, b"unasked for")];
    let clients = frames.map(|_| world.connect(0, ROOMY));
    // None of them answers a ping, but each says something before a ping is judged.
    for _ in 0..100 {
        world.advance(Duration::from_secs(1));
        for (client, (opcode, payload)) in clients.iter().zip(frames) {
            world.send_frame(client, opcode, payload);
        }
    }
    assert!(clients.iter().all(|client| !client.pipe.is_gone() && client.closed().is_none()));
    assert_eq!(world.shards[0].metrics.pong_timeouts.get(), 0);
}

#[test]
fn pings_of_many_clients_are_spread_over_the_interval() {
    let config = ShardConfig { max_clients: 100, ..config() };
    let mut world = World::new(1, &config);
    world.seats = Count::of(100);
    let clients: Vec<_> = (0..100).map(|_| world.connect(0, ROOMY)).collect();
    let mut seconds_with_pings = 0;
    for _ in 0..30 {
        world.advance(Duration::from_secs(1));
        let pinged = |client: &Client| client.frames().iter().any(|(opcode, _)| *opcode == 9);
        seconds_with_pings += usize::from(clients.iter().filter(|client| pinged(client)).count() > 0);
    }
    assert!(seconds_with_pings > 10, "100 clients are pinged in {seconds_with_pings} of 30 seconds");
}

const DIALECTS: [Dialect; 3] = [Dialect::Native, Dialect::Batch, Dialect::Sse];

#[test]
fn what_a_slow_client_does_not_take_is_skipped_and_announced_exactly() {
    DIALECTS.into_iter().for_each(is_skipped_and_announced_exactly);
}

fn is_skipped_and_announced_exactly(dialect: Dialect) {
    let mut world = World::new(1, &config());
    let mut connect = |room_bytes| world.connect_speaking(0, room_bytes, dialect, &["AAPL"]);
    let (slow, fast) = (connect(1_000), connect(ROOMY));
    for _ in 0..200 {
        world.publish("AAPL", 5);
        world.advance(Duration::from_millis(50));
    }
    assert_eq!(prices(&fast.received()), (1..=1_000).collect::<Vec<_>>());
    slow.pipe.make_room(ROOMY);
    world.ready(&slow, false, true);
    let received = slow.received();
    let prices = prices(&received);
    assert!(prices.is_sorted() && prices.last() == Some(&1_000));
    assert!(skipped(&received) > 0);
    assert_eq!(prices.len() as u64 + skipped(&received), 1_000, "delivered + announced = published");
    assert_eq!(world.shards[0].output.backlog.bytes(), 0, "nothing is kept alive");
}

/// Clients in each form, in one gateway: each gets every event in its own, statuses in their place, and is told of the end.
#[test]
fn every_form_has_the_same_events_between_the_same_statuses() {
    let mut world = World::new(2, &config());
    world.tell(0, ToShard::Feed(Delay::NONE, Feed::Up { gap_ms: 0 }));
    world.tell(1, ToShard::Feed(Delay::NONE, Feed::Up { gap_ms: 0 }));
    let mut clients = Vec::new();
    for shard in 0..2 {
        for (dialect, symbols) in DIALECTS.into_iter().flat_map(|each| [(each, "AAPL"), (each, "*")]) {
            clients.push(world.connect_speaking(shard, ROOMY, dialect, &[symbols]));
        }
    }
    world.publish("AAPL", 3);
    for shard in 0..2 {
        world.tell(shard, ToShard::Feed(Delay::NONE, Feed::Down));
    }
    world.publish("AAPL", 2);
    let told = |client: &Client| {
        let received = client.received();
        let event = |message: &Value| match message["type"].as_str().unwrap() {
            "status" => message["event"].as_str().unwrap().to_owned(),
            "trade" => message["data"]["price"].to_string(),
            other => other.to_owned(),
        };
        received.iter().map(event).collect::<Vec<_>>()
    };
    for client in &clients {
        assert_eq!(told(client), ["success", "1", "2", "3", "feed", "4", "5"], "{:?}", client.dialect);
    }
    for (shard, dialects) in [(0, DIALECTS), (1, DIALECTS)] {
        let shard: &Shard = &world.shards[shard];
        assert_eq!(
            shard.subscriptions.index.topics(),
            3 * dialects.len() - dialects.len(),
            "AAPL and * in each"
        );
    }
    for shard in 0..2 {
        world.tell(shard, ToShard::Drain(Duration::from_secs(5)));
    }
    for client in &clients {
        assert!(client.pipe.is_output_closed());
        match client.dialect {
            Dialect::Sse => {
                let last = client.events().pop().unwrap();
                assert!(
                    last.0.starts_with("event: status\nretry: ") && last.1.contains("shutdown"),
                    "{last:?}"
                );
            }
            _ => assert_eq!(client.closed().unwrap().0, 1012),
        }
    }
    assert_eq!(world.router.topics(), 0);
}

/// What waits when a message is begun is one message, up to its limits; replies stand alone.
#[test]
fn a_batch_has_all_that_waits() {
    let mut world = World::new(1, &config());
    let client = world.connect_speaking(0, ROOMY, Dialect::Batch, &["*"]);
    let count = |payload: &[u8]| serde_json::from_slice::<Vec<Value>>(payload).unwrap().len();
    let lengths = |client: &Client| -> Vec<usize> {
        client.frames().iter().map(|(_, payload)| count(payload)).collect()
    };
    assert_eq!(lengths(&client), [1, 1], "the reply, and that the feed is down");
    world.publish("AAPL", 1);
    world.publish("MSFT", 7);
    assert_eq!(lengths(&client), [1, 7]);
    world.publish("AAPL", 800);
    let [(_, full), (_, rest)] = &client.frames()[..] else { panic!("two messages") };
    let largest = limits::BATCH_BYTES_MAX;
    assert!(full.len() <= largest && full.len() + full.len() / count(full) > largest, "{}", full.len());
    assert_eq!(count(full) + count(rest), 800);
    let writes = world.shards[0].metrics.writes.get();
    world.publish("AAPL", 10);
    world.send(&client, &json!({"action": "ping"}));
    assert_eq!(lengths(&client), [10, 1]);
    assert_eq!(world.shards[0].metrics.writes.get(), writes + 2, "one write for each turn");
}

/// A stream ends with the refusal, and has comments while nothing happens.
#[test]
fn a_stream_is_kept_alive_and_ends_when_it_is_refused() {
    let mut world = World::new(1, &config());
    let client = world.arrive(0, ROOMY, |client| Newcomer {
        dialect: Dialect::Sse,
        greeting: b"HEAD\n\n"[..].into(),
        request: Some(Box::from([parse_query(&["AAPL"], &config().grammar)])),
        ..client
    });
    let events: Vec<_> = client.events().into_iter().map(|(before, _)| before).collect();
    assert_eq!(events, ["HEAD", "event: success\n", "event: status\n"]);
    // What a client says behind its request, nobody hears.
    client.pipe.send(b"GET / HTTP/1.1\r\n\r\n");
    world.ready(&client, true, false);
    for _ in 0..60 {
        world.advance(Duration::from_secs(1));
    }
    let comments = client.pipe.take();
    assert!(comments == b":\n\n".repeat(4) || comments == b":\n\n".repeat(3), "{comments:?}");
    assert!(!client.pipe.is_gone());
    for (symbols, rights) in [(&["A\"B"][..], None), (&["AAPL", "MSFT"], Some(1))] {
        let client = world.arrive(0, ROOMY, |client| {
            let standing = rights
                .map(|max| Standing::Known(Arc::new(Identity::anonymous(Rights::of_gateway(true, max)))));
            Newcomer {
                dialect: Dialect::Sse,
                request: Some(Box::from([parse_query(symbols, &config().grammar)])),
                standing: standing.unwrap_or(client.standing),
                ..client
            }
        });
        assert!(client.pipe.is_output_closed());
        let events: Vec<_> = client.events().into_iter().map(|(before, _)| before).collect();
        assert_eq!(events, ["event: refused\nretry: 3600000\n"]);
        world.advance(limits::CLOSE_TIMEOUT + Duration::from_millis(100));
        assert!(client.pipe.is_gone());
    }
    assert_eq!(world.seats.taken(), 1);
}

#[test]
fn a_policy_of_disconnect_closes_1013_with_the_reason_before() {
    let mut world =
        World::new(1, &ShardConfig { slow_client_policy: SlowClientPolicy::Disconnect, ..config() });
    let slow = world.connect(0, 500);
    world.subscribe(&slow, &["AAPL"]);
    for _ in 0..100 {
        world.publish("AAPL", 5);
        world.advance(Duration::from_millis(50));
    }
    slow.pipe.make_room(ROOMY);
    world.ready(&slow, false, true);
    let frames = slow.frames();
    let [.., (1, error), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(serde_json::from_slice::<Value>(error).unwrap()["code"], "SLOW_CLIENT");
    assert_eq!(close[..2], 1013_u16.to_be_bytes());
}

#[test]
fn too_large_a_backlog_of_all_is_relieved_at_those_furthest_behind() {
    let config = ShardConfig { max_backlog_bytes: 20_000, max_outbox_bytes: 1 << 20, ..config() };
    let mut world = World::new(1, &config);
    let (behind, later) = (world.connect(0, 500), world.connect(0, 500));
    world.subscribe(&behind, &["AAPL"]);
    (0..20).for_each(|_| world.publish("AAPL", 10));
    world.advance(Duration::from_millis(10));
    world.subscribe(&later, &["MSFT"]);
    world.publish("MSFT", 50);
    assert!(world.shards[0].output.backlog.bytes() <= 20_000);
    for client in [&behind, &later] {
        client.pipe.make_room(ROOMY);
        world.ready(client, false, true);
    }
    let received = behind.received();
    assert!(skipped(&received) > 0);
    assert_eq!(prices(&received).len() as u64 + skipped(&received), 200);
    assert_eq!(prices(&later.received()), (201..=250).collect::<Vec<_>>(), "the other loses nothing");
}

/// A shard that was behind learns of new topics and of what it has lost of them, up to a number of topics.
#[test]
fn what_ingest_dropped_is_announced_or_ends_the_connection() {
    let mut world = World::new(1, &config());
    let [everything, of_a, one] = [(); 3].map(|()| world.connect(0, ROOMY));
    world.subscribe(&everything, &["*"]);
    world.subscribe(&of_a, &["A*"]);
    world.subscribe(&one, &["AAPL"]);
    let (aapl, new) = (world.topic("AAPL"), world.topic("AMZN"));
    let opened = vec![(subject("AMZN"), new)];
    let everything_id = world.topic("*");
    for told in [
        ToShard::Opened(opened),
        ToShard::Lost(vec![(aapl, 3), (new, 4)]),
        ToShard::LostUncounted(vec![everything_id]),
    ] {
        world.tell(0, told);
    }
    assert_eq!(skipped(&of_a.received()), 7);
    assert_eq!(skipped(&one.received()), 3);
    let [.., (_, refusal), (_, close)] = &everything.frames()[..] else { panic!("nothing was said") };
    assert!(String::from_utf8_lossy(refusal).contains("The gateway has lost events of more than"));
    assert_eq!(close[..2], 1013_u16.to_be_bytes());
    world.publish("AAPL", 1);
    for client in [&of_a, &one] {
        assert_eq!(prices(&client.received()), [1], "whoever could be told goes on");
    }
}

#[test]
fn idle_topics_of_a_wildcard_are_given_back_and_come_again() {
    let mut world = World::new(1, &ShardConfig { max_opened_topics: 4, ..config() });
    let client = world.connect(0, ROOMY);
    world.subscribe(&client, &["*"]);
    for round in 0..3 {
        for symbol in 0..50 {
            world.publish(&format!("S{symbol}"), 1);
            assert!(world.router.topics() <= 4 * limits::OPENED_TOPICS_FACTOR + 2, "round {round}");
        }
    }
    assert_eq!(prices(&client.received()), (1..=150).collect::<Vec<_>>());
}

#[test]
fn heartbeats_come_each_second_until_they_are_unwanted() {
    let mut world = World::new(1, &config());
    let client = world.connect(0, ROOMY);
    world.send(&client, &json!({"action": "subscribe", "symbols": ["AAPL"], "heartbeat": true}));
    client.received();
    let beats =
        |client: &Client| client.received().iter().filter(|told| told["event"] == "heartbeat").count();
    for _ in 0..5 {
        world.advance(Duration::from_millis(500));
        assert_eq!(beats(&client), 0);
        world.advance(Duration::from_millis(520));
        assert_eq!(beats(&client), 1);
        world.advance(Duration::from_millis(980));
        client.received();
    }
    world.send(&client, &json!({"action": "subscribe", "symbols": ["AAPL"], "heartbeat": false}));
    world.advance(Duration::from_secs(3));
    assert_eq!(beats(&client), 0);
}

#[test]
fn a_drain_sends_everyone_away_and_ends_with_the_last() {
    let mut world = World::new(1, &config());
    let (polite, mute) = (world.connect(0, ROOMY), world.connect(0, ROOMY));
    world.tell(0, ToShard::Drain(Duration::from_secs(10)));
    for client in [&polite, &mute] {
        let frames = client.frames();
        let [.., (1, status), (8, close)] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!(serde_json::from_slice::<Value>(status).unwrap()["event"], "shutdown");
        assert_eq!(close[..2], 1012_u16.to_be_bytes());
    }
    world.send_frame(&polite, 8, &1012_u16.to_be_bytes());
    assert!(polite.pipe.is_gone() && !world.shards[0].is_drained());
    world.advance(limits::CLOSE_TIMEOUT + Duration::from_millis(100));
    assert!(mute.pipe.is_gone() && world.shards[0].is_drained());
}

#[test]
fn the_feed_s_state_is_told_once_and_to_all() {
    let mut world = World::new(1, &config());
    let early = world.connect(0, ROOMY);
    assert_eq!(early.received()[0]["data"], json!({"state": "down"}));
    world.tell(0, ToShard::Feed(Delay::NONE, Feed::Up { gap_ms: 7 }));
    assert_eq!(early.received()[0]["data"], json!({"state": "up", "gapMs": 7}));
    let late = world.connect(0, ROOMY);
    assert!(late.received().is_empty(), "a feed that is up is no news");
}

#[test]
fn an_answer_for_a_client_that_has_gone_leaves_nothing_behind() {
    let mut world = World::new(1, &config());
    let client = world.connect(0, ROOMY);
    let request = json!({"action": "subscribe", "symbols": ["AAPL"]}).to_string();
    client.pipe.send(&[&[0x81, 0x80 | request.len() as u8, 0, 0, 0, 0], request.as_bytes()].concat());
    let ready = |key| Ready { key, readable: true, writable: false, read_closed: false };
    world.shards[0].turn(std::iter::empty(), std::iter::once(ready(client.key)));
    assert_eq!(world.shards[0].subscriptions.pending.len(), 1);
    world.shards[0].remove(client.key);
    world.turn();
    assert_eq!(world.router.topics(), 0);
    assert_eq!(world.shards[0].subscriptions.index.topics(), 0);
    let wrong = ToShard::Granted { ticket: Ticket::default(), topics: Vec::new(), history: None };
    world.tell(0, wrong);
}
