//! Every bound and every default of the gateway in one place, each with its arithmetic.
//!
//! A default (`*_DEFAULT`) is what a setting is without configuration, `*_MIN` and `*_MAX` are what a setting may
//! be, and everything else is fixed. Relations that other code relies on are asserted at compile time at the end.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::market::SYMBOL_BYTES_MAX;

/// 1 KiB.
pub const KIB: usize = 1024;
/// 1 MiB.
pub const MIB: usize = 1024 * KIB;

// --- Where the gateway listens, and how many it lets in ---

/// `WS_PORT`: HTTP and WebSocket share it.
pub const PORT_DEFAULT: u16 = 8080;
/// `EMBEDDED_REDIS_PORT`: where a worker that knows nothing of us looks for Redis.
pub const EMBEDDED_REDIS_PORT_DEFAULT: u16 = 6379;
/// Bytes of `SERVER_ID`: it goes into a header, into JSON and into a metric's label.
pub const SERVER_ID_BYTES_MAX: usize = 64;

/// `MAX_CONNECTIONS` is never more: `fs.nr_open`, Linux's ceiling for one process' descriptors, is 1,048,576 unless
/// somebody raises it, and container runtimes report limits of 2^30 that mean nothing. Shards reserve address space, not
/// memory, for so many clients: 200 MB at most.
pub const MAX_CONNECTIONS_MAX: usize = 1 << 20;
/// The open-file limit to reckon with where the system doesn't tell: the customary soft limit.
pub const OPEN_FILES_UNKNOWN: u64 = 1024;
/// Descriptors of the process itself: 3 standard streams, the listeners, polls and wakers of the runtime and of ingest, signals,
/// the upstream, name look-ups, a file being read, and one connection each that is accepted before there is a place for it.
/// 20 were counted with one connection each to Redis for the feed and for look-ups; [`UPSTREAM_ADDRESSES_MAX`] and
/// [`LAST_VALUE_NODES_MAX`] add 14.
pub const FD_PROCESS: usize = 35;
/// Descriptors of a shard: its poll and its waker.
pub const FD_SHARD: usize = 2;
/// Descriptors that `MAX_CONNECTIONS` leaves free by default: those of the process, of as many shards as there can be, of
/// all workers and of every HTTP connection in flight. Under a small limit a quarter of it is left free instead
/// ([`connections_for`]).
pub const FD_RESERVE: usize =
    FD_PROCESS + FD_SHARD * SHARDS_MAX + EMBEDDED_REDIS_CLIENTS_MAX + HTTP_IN_FLIGHT_MAX;
/// Workers (and tools) connected to the embedded broker at a time; one more is refused as redis-server refuses it. A worker takes
/// one connection, or a small pool: that is room for dozens on the one machine that a broker without Redis is for, and each costs the
/// public a descriptor. With 2 MiB of an unfinished command each they hold 512 MiB.
pub const EMBEDDED_REDIS_CLIENTS_MAX: usize = 256;

/// How many WebSocket clients a process with so many descriptors takes by default: all but [`FD_RESERVE`], but at
/// least three quarters, between 1 and [`MAX_CONNECTIONS_MAX`].
pub const fn connections_for(open_files: u64) -> usize {
    let open_files = if open_files > 2 * MAX_CONNECTIONS_MAX as u64 {
        2 * MAX_CONNECTIONS_MAX
    } else {
        open_files as usize
    };
    let quarter = open_files / 4;
    let reserve = if quarter < FD_RESERVE { quarter } else { FD_RESERVE };
    let connections = open_files - reserve;
    match connections {
        0 => 1,
        1..=MAX_CONNECTIONS_MAX => connections,
        _ => MAX_CONNECTIONS_MAX,
    }
}

// --- HTTP and the handshake ---

/// From `accept` to the whole header of the first request, and so for a handshake: a browser needs one round trip, so 5 s
/// forgives one lost SYN and one lost segment (1 s + 3 s) and still ends a half-open handshake soon.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// After its first request an HTTP connection is looked at so often, and closed if no request has come since: it ends 20
/// to 40 s after the last one. That covers keep-alive, later headers that trickle in, and peers that don't read answers;
/// a scraper that comes every 15 s keeps its connection.
pub const HTTP_IDLE_TIMEOUT_MS: u64 = 20_000;
/// How long, after our side of an HTTP connection is closed, what the peer still sends is read and thrown away: closing with
/// unread input would reset the connection, and the peer might lose the answer.
pub const HTTP_LINGER_MS: u64 = 500;
/// How much of it is read.
pub const HTTP_LINGER_BYTES: usize = 256 * KIB;
/// How long HTTP connections get to finish their request when the gateway stops.
pub const HTTP_DRAIN_TIMEOUT_MS: u64 = 1_000;
/// Header fields in a request: a browser sends about 15, proxies add a handful. More are answered 431.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of a request line and header, and so of what a connection that isn't upgraded yet may make us hold.
/// Cookies of a shared domain are the reason for more than a few hundred. More are answered 431.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 * KIB;
/// HTTP connections that aren't upgraded yet: 1024 × ([`HTTP_HEADER_BYTES_MAX`] + ~4 KiB of task) = 20 MiB at worst.
/// A further one gets the place of the one whose peer has been silent longest. Fewer where descriptors are few.
pub const HTTP_IN_FLIGHT_MAX: usize = 1024;
/// As many of them as there are descriptors for even where these are fewest: a health check, a scraper and some handshakes.
pub const HTTP_IN_FLIGHT_MIN: usize = 8;
/// While fewer than this part of them are free, HTTP connections are closed after their answer instead of kept alive.
pub const HTTP_CROWDED_PART: usize = 4;
/// The listen queue; the kernel caps it at `net.core.somaxconn` (4096 since Linux 5.4).
pub const LISTEN_BACKLOG: i32 = 4096;
/// First wait after `accept` failed because descriptors or memory ran out; doubled up to [`ACCEPT_BACKOFF_MAX`].
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two attempts to accept: a freed descriptor is noticed within it.
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long a browser may keep what `OPTIONS` says of an origin.
pub const CORS_MAX_AGE_S: u64 = 600;
/// `Retry-After` when full or draining, in seconds.
pub const RETRY_AFTER_S: u64 = 5;
/// How long `--healthcheck` waits for the gateway's answer.
pub const HEALTHCHECK_TIMEOUT_MS: u64 = 3_000;

// --- What a client may ask for ---

/// `MAX_SYMBOLS_PER_CLIENT`: (type, symbol) pairs.
pub const MAX_SYMBOLS_DEFAULT: u64 = 5;
/// Most that `MAX_SYMBOLS_PER_CLIENT` may be: 10,000 × (64 B symbol + ~64 B of index) = 1.3 MB a client.
pub const MAX_SYMBOLS_MAX: u64 = 10_000;
/// `MAX_MESSAGE_SIZE`: a subscribe to a thousand symbols of full length fits.
pub const MAX_MESSAGE_DEFAULT_BYTES: usize = 64 * KIB;
/// Least that `MAX_MESSAGE_SIZE` may be: one subscribe with an id and a symbol of full length.
pub const MAX_MESSAGE_MIN_BYTES: usize = 512;
/// Most that `MAX_MESSAGE_SIZE` may be: one client may make us hold so much of an unfinished message.
pub const MAX_MESSAGE_MAX_BYTES: usize = 16 * MIB;
/// Most that a rate may count: with the shortest time, [`RATE_PER_MIN`], that is one a microsecond, which is what clocks tell.
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// The shortest time that a rate may be for; the longest is [`TIME_MAX_MS`].
pub const RATE_PER_MIN: Duration = Duration::from_secs(1);

// --- Heartbeat and patience ---

/// `PING_INTERVAL`: below the 60 s after which common proxies cut a silent connection.
pub const PING_INTERVAL_DEFAULT_MS: u64 = 30_000;
/// `PONG_TIMEOUT`.
pub const PONG_TIMEOUT_DEFAULT_MS: u64 = 5_000;
/// Least of `PING_INTERVAL`, `PONG_TIMEOUT` and `STALL_TIMEOUT`: a few turns of a shard's timing wheel under load.
pub const HEARTBEAT_MIN_MS: u64 = 50;
/// Between two `heartbeat` statuses to a client that asked for them.
pub const HEARTBEAT_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// `MAX_MISSED_PONGS` in a row: with the defaults a dead peer is dropped after 3 × 30 s + 5 s at most.
pub const MAX_MISSED_PONGS_DEFAULT: u64 = 3;
/// `STALL_TIMEOUT`: no byte taken while data waits.
pub const STALL_TIMEOUT_DEFAULT_MS: u64 = 30_000;
/// `DRAIN_TIMEOUT`: what clients get to take what is queued when the gateway stops; container runtimes kill after 10 s
/// (Docker) or 30 s (Kubernetes).
pub const DRAIN_TIMEOUT_DEFAULT_MS: u64 = 10_000;
/// Most of `DRAIN_TIMEOUT`.
pub const DRAIN_TIMEOUT_MAX_MS: u64 = 10 * 60 * 1000;
/// How long a close frame waits for the peer's.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// `STATS_INTERVAL`: one line a minute in the log.
pub const STATS_INTERVAL_DEFAULT_MS: u64 = 60_000;
/// Longest time that any setting takes: one day.
pub const TIME_MAX_MS: u64 = 24 * 60 * 60 * 1000;

// --- Outboxes and the data path ---

/// `MAX_OUTBOX_BYTES`: 4 MiB of frames = 23,000 trades of 180 B, 10 s of 2,300 trades/s. Frames are shared, so this
/// is how far behind a client may be rather than memory.
pub const MAX_OUTBOX_DEFAULT_BYTES: usize = 4 * MIB;
/// Most that `MAX_OUTBOX_BYTES` may be.
pub const MAX_OUTBOX_MAX_BYTES: usize = 1024 * MIB;
/// Room in an outbox for pongs, replies and statuses, beyond `MAX_OUTBOX_BYTES`; what doesn't fit counts as events do. From half
/// of it on we stop reading that client, so that no more than one reply is ever beyond it.
pub const CONTROL_RESERVE_BYTES: usize = 64 * KIB;
/// `MAX_BACKLOG_BYTES`: batches kept alive by all outboxes together, replays on their way there, and what clients keep of
/// snapshots that wait (some 70 B a topic: 370 blocked clients with 10,000 topics each).
pub const MAX_BACKLOG_DEFAULT_BYTES: usize = 256 * MIB;
/// Most that `MAX_BACKLOG_BYTES` may be (1 TiB: any machine's memory).
pub const MAX_BACKLOG_MAX_BYTES: usize = 1024 * 1024 * MIB;
/// Bytes of batches waiting in one shard's inbox: 64 read budgets of ingest, some 90,000 trades.
pub const SHARD_INBOX_BYTES: usize = 16 * MIB;
/// Ingest hands on a batch after reading so much …
pub const INGEST_READ_BUDGET_BYTES: usize = 256 * KIB;
/// … or after so long, whichever comes first.
pub const INGEST_READ_BUDGET: Duration = Duration::from_millis(1);
/// Reads of the link that end at most this far apart, in microseconds, are close.
pub const READS_CLOSE_US: u64 = 50;
/// After how many close reads in a row ingest begins to pause: a burst is over before that.
pub const READS_CLOSE_UNTIL_PAUSE: u32 = 16;
/// How long ingest pauses after each read of a fast feed. Linux adds its timer slack (50 µs), so reads follow each other every 100 µs.
pub const READ_PAUSE: Duration = Duration::from_micros(40);
/// How long ingest waits for room in a shard's inbox before that shard is behind: from then on its events are dropped,
/// counted and announced, and nobody waits for it. At 100,000 events/s 5 ms are 500 events (90 kB), far below what the
/// socket from Redis buffers meanwhile.
pub const HANDOVER_WAIT: Duration = Duration::from_millis(5);
/// How often ingest looks for room in that time.
pub const HANDOVER_PAUSES: u32 = 20;
/// `TCP_NOTSENT_LOWAT` of clients' sockets: what may wait in the kernel beyond what is in flight. Two full writes of the
/// gather buffer's size would be 128 KiB; half of one keeps the backlog where policy lives and still fills a fast link.
pub const NOTSENT_LOWAT_BYTES: u32 = 32 * 1024;
/// A shard's shared read buffer, and so the most it reads from one socket at a time.
pub const READ_BUFFER_BYTES: usize = 64 * KIB;
/// `MAX_EVENT_BYTES`: a worker's payload.
pub const MAX_EVENT_DEFAULT_BYTES: usize = 64 * KIB;
/// Least that `MAX_EVENT_BYTES` may be: a trade with a symbol of full length.
pub const MAX_EVENT_MIN_BYTES: usize = 256;
/// Most that `MAX_EVENT_BYTES` may be: sixteen in a shard's inbox.
pub const MAX_EVENT_MAX_BYTES: usize = MIB;
/// What a frame adds to an event at most: 10 bytes of WebSocket header, `{"type":"…","data":` with a type of 32 bytes,
/// `,"timestamp":` with 20 digits, markers.
pub const FRAME_OVERHEAD_MAX_BYTES: usize = 256;
/// Bytes of `CHANNEL_PREFIX`.
pub const CHANNEL_PREFIX_BYTES_MAX: usize = 128;
/// `CHANNEL_PREFIX`.
pub const CHANNEL_PREFIX_DEFAULT: &str = "channel:";
/// Most that `FLUSH_INTERVAL` may be; 0 (off, the default) lets a lone trade leave at once.
pub const FLUSH_INTERVAL_MAX_MS: u64 = 1_000;
/// Most that `SHARDS` may be: ingest keeps who wants a topic as one bit a shard in a `u64`.
pub const SHARDS_MAX: usize = 64;

// --- What is remembered ---

/// `LAST_VALUE_MAX_TOPICS`: 10,000 × (~0.4 KiB of table + a value and its frame + [`PENDING_EVENTS`] events in at
/// most [`PENDING_BYTES`]) = some 50 MB. At worst, with every event of `MAX_EVENT_BYTES`, 10,000 × 3 × 64 KiB = 1.9 GiB.
pub const LAST_VALUE_TOPICS_DEFAULT: u64 = 10_000;
/// Most that `LAST_VALUE_MAX_TOPICS` may be; 0 is off.
pub const LAST_VALUE_TOPICS_MAX: u64 = 1_000_000;
/// Events of a topic that nobody wants which are set aside before one of them is looked into: a check takes some 0.15 µs, a
/// thirty-second of it for each event is less than a hash look-up takes. (Measured: 16 cost 4-9 ns an event more.)
pub const PENDING_EVENTS: usize = 32;
/// The same in bytes: thirty-two events of 128 B. A larger event is looked into at once.
pub const PENDING_BYTES: usize = 4 * KIB;
/// Topics looked at in search of one to forget, for each event of a topic that isn't known (in ingest's history, and on a
/// shard with patterns): 16 × ~10 ns.
pub const FORGET_STEPS: usize = 16;
/// `REPLAY_EVENTS_PER_TOPIC`: 100 s of ten trades a second.
pub const REPLAY_EVENTS_DEFAULT: u64 = 1_000;
/// Most that `REPLAY_EVENTS_PER_TOPIC` may be; 0 is off. One client's resuming of a topic walks over so many entries:
/// 100,000 × 0.3 µs (to check them, once) = 30 ms.
pub const REPLAY_EVENTS_MAX: u64 = 100_000;
/// `REPLAY_MAX_BYTES`, all topics together: 64 MiB = 450,000 events of 120 B with 28 B each for the chain, 45 s of 10,000
/// events/s. Taken from the system as it fills.
pub const REPLAY_DEFAULT_BYTES: usize = 64 * MIB;
/// Most that `REPLAY_MAX_BYTES` may be; 0 is off.
pub const REPLAY_MAX_MAX_BYTES: usize = 64 * 1024 * MIB;
/// Topics that live on a shard by patterns alone before those that are idle are given back: more than exchanges list, and in
/// the order of what is remembered anyway; `LAST_VALUE_MAX_TOPICS` where that is more, so that a snapshot of everything fits.
/// 16,384 × (~0.4 KiB on the shard + ~0.2 KiB in ingest) = 10 MB a shard. Topics that are heard of again and again may be
/// twice as many ([`OPENED_TOPICS_FACTOR`]) before they go as well, and come back with their next event.
pub const OPENED_TOPICS_MAX: usize = 16_384;
/// See [`OPENED_TOPICS_MAX`].
pub const OPENED_TOPICS_FACTOR: usize = 2;
/// A client is owed announcements of skipped events for at most so many times the shard's bound on opened topics; one that doesn't
/// even take these is closed as too slow. 4 × 16,384 × ~32 B = 2 MB.
pub const SKIPPED_TOPICS_FACTOR: usize = 4;
/// Topics whose end is marked in an outbox with one entry: each announcement due there is found by walking over them.
pub const TOPICS_PER_MARK: usize = 256;

/// Last values go into a client's outbox while less than this waits there: enough for a full write.
pub const BACKFILL_BYTES: u32 = 64 * 1024;
/// Keys of `LAST_VALUE_KEY` that are looked up at a time: at most 500 × some 250 B = 125 kB of pipelined GETs.
pub const LAST_VALUE_KEYS_MAX: usize = 500;
/// Nodes of a Redis Cluster that look-ups keep connections to: each takes one of [`FD_PROCESS`]. With more nodes than that,
/// look-ups connect more often.
pub const LAST_VALUE_NODES_MAX: usize = 8;
/// Redirections that the look-up of one key follows: to the slot's node, to the node that the slot is moved to, and two more
/// for a move that ends meanwhile.
pub const LAST_VALUE_REDIRECTIONS_MAX: usize = 4;
/// Look-ups that failed are logged once in this time at most.
pub const LAST_VALUE_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// `STALE_AFTER`: a liquid symbol trades every few seconds, so a minute of silence is worth a look.
pub const STALE_AFTER_DEFAULT_MS: u64 = 60_000;
/// The ingest thread counts its silent topics once in this time: a million of them take some 10 ms.
pub const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

// --- Upstream ---

/// Bytes of a channel's name: prefix, type and the longest symbol fit several times over. Longer ones are discarded.
pub const CHANNEL_BYTES_MAX: usize = 1024;
/// The longest that each step of reaching the upstream may take: looking up the host, connecting, TLS, AUTH, PSUBSCRIBE.
pub const UPSTREAM_STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// An address that has not answered within this time gets the host's next one beside it (RFC 8305 recommends 250 ms).
pub const UPSTREAM_CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of a host that one attempt tries: the last one begins 7 × 250 ms = 1.75 s after the first. A host with more gets
/// others in the next attempt.
pub const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// The beginning of an error reply that is logged: Redis' longest, of protected mode, has some 900 bytes.
pub const LOGGED_ERROR_BYTES: usize = 1024;
/// Kinds of error replies that are logged for one link.
pub const LOGGED_REFUSALS: usize = 8;
/// The first pause after the upstream was lost or not reached; doubled up to [`UPSTREAM_BACKOFF_MAX`].
pub const UPSTREAM_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts. With [`UPSTREAM_STEP_TIMEOUT`] a gateway is back at most 5 s after its upstream.
pub const UPSTREAM_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A link that has been silent for this long is asked (`PING`) ...
pub const UPSTREAM_QUIET: Duration = Duration::from_secs(5);
/// ... and is lost if it doesn't answer within this time: a half-open link is found within 11 s.
pub const UPSTREAM_PONG_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that the ingest thread sleeps: it watches the link, and `/health` sees that it lives.
pub const INGEST_SLEEP_MAX: Duration = Duration::from_secs(1);
/// While a shard is behind, ingest looks after so long whether its inbox is half empty.
pub const HANDOVER_RETRY: Duration = Duration::from_millis(5);
/// Published events that wait for the ingest thread; beyond it publishers wait. What is published at once is not split, so
/// as much again waits as the control threads hand over at the same time: for each a transaction of the embedded broker (8 MiB).
pub const INGEST_INBOX_BYTES: usize = 4 * MIB;
/// Each kind of bad event is logged once in this time at most.
pub const REJECT_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// The beginning of a bad event's symbol that is logged: a symbol of full length.
pub const LOGGED_NAME_BYTES: usize = SYMBOL_BYTES_MAX;
/// The beginning of a bad event's payload that is logged: a whole trade.
pub const LOGGED_PAYLOAD_BYTES: usize = 120;

// --- How connections end ---

/// How long a close frame may wait behind what is queued before it, when the gateway does not drain.
pub const CLOSE_FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// `reconnectAfterMs` of a draining gateway: drawn from this, so that its clients don't arrive elsewhere all at once.
pub const RECONNECT_AFTER_MS: RangeInclusive<u64> = 500..=5_000;
/// Threads of the control side: handshakes, HTTP, the supervisor. One would do; the second keeps health answering while
/// the first hashes a storm of handshakes.
pub const CONTROL_THREADS: usize = 2;
/// Log lines that wait to be written: 1,300 of 200 B, far more than a gateway logs in a minute at level info.
pub const LOG_QUEUE_BYTES: usize = 256 * KIB;
/// How long the process' end waits for its last log lines to be written.
pub const LOG_END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long tasks of the control side may take to end once everything else has.
pub const TASKS_END_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = {
    assert!(HTTP_HEADER_BYTES_MAX >= 8 * KIB, "hyper refuses a smaller buffer");
    assert!(
        HANDSHAKE_TIMEOUT_MS < PING_INTERVAL_DEFAULT_MS,
        "a handshake is judged before a first ping would be due"
    );
    assert!(PONG_TIMEOUT_DEFAULT_MS <= PING_INTERVAL_DEFAULT_MS, "a pong is judged before the next ping");
    assert!(CLOSE_TIMEOUT.as_millis() < DRAIN_TIMEOUT_DEFAULT_MS as u128, "closing fits into draining");
    assert!(HTTP_DRAIN_TIMEOUT_MS < DRAIN_TIMEOUT_DEFAULT_MS);
    assert!(HEARTBEAT_MIN_MS <= PONG_TIMEOUT_DEFAULT_MS && STALL_TIMEOUT_DEFAULT_MS <= TIME_MAX_MS);
    assert!(MAX_SYMBOLS_DEFAULT <= MAX_SYMBOLS_MAX);
    assert!(
        MAX_MESSAGE_MIN_BYTES > SYMBOL_BYTES_MAX + 2 * 64 + 64,
        "one subscribe with a symbol and an id fits"
    );
    assert!(MAX_MESSAGE_DEFAULT_BYTES >= 1000 * (SYMBOL_BYTES_MAX - 2), "as its doc comment says");
    assert!(MAX_MESSAGE_DEFAULT_BYTES <= MAX_MESSAGE_MAX_BYTES);
    assert!(MAX_EVENT_DEFAULT_BYTES <= MAX_EVENT_MAX_BYTES);
    assert!(
        LOGGED_PAYLOAD_BYTES < MAX_EVENT_MIN_BYTES,
        "an event beyond the limit is longer than its excerpt"
    );
    assert!(
        MAX_OUTBOX_DEFAULT_BYTES / 2 >= MAX_EVENT_DEFAULT_BYTES + FRAME_OVERHEAD_MAX_BYTES,
        "skipping down to half leaves room for the largest event"
    );
    assert!(MAX_OUTBOX_DEFAULT_BYTES <= MAX_BACKLOG_DEFAULT_BYTES, "one client's outbox fits into the whole");
    assert!(
        INGEST_READ_BUDGET_BYTES + MAX_EVENT_MAX_BYTES + FRAME_OVERHEAD_MAX_BYTES <= SHARD_INBOX_BYTES,
        "the largest batch fits into an empty inbox"
    );
    assert!(connections_for(OPEN_FILES_UNKNOWN) == 768);
    assert!(connections_for(0) == 1);
    assert!(connections_for(1 << 30) == MAX_CONNECTIONS_MAX);
    assert!(connections_for(100_000) == 100_000 - FD_RESERVE);
};
