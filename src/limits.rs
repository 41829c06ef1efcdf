//! Every bound and every default of the gateway in one place, each with its arithmetic.
//!
//! `*_DEFAULT` is a setting's default, and `*_MIN` and `*_MAX` bound its values, where there is such a setting. Everything
//! else is fixed. Relations that other code relies on are asserted at compile time, at the end.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::market::SYMBOL_BYTES_MAX;

/// 1 KiB.
pub const KIB: usize = 1024;
/// 1 MiB.
pub const MIB: usize = 1024 * KIB;

// --- Ports, names and the number of clients ---

/// `WS_PORT`: HTTP and WebSocket share it.
pub const PORT_DEFAULT: u16 = 8080;
/// `EMBEDDED_REDIS_PORT`: Redis' own port, which workers use by default.
pub const EMBEDDED_REDIS_PORT_DEFAULT: u16 = 6379;
/// Bytes of `SERVER_ID`: it goes into a header, into JSON and into a metric's label.
pub const SERVER_ID_BYTES_MAX: usize = 64;

/// Most that `MAX_CONNECTIONS` may be: `fs.nr_open`, Linux's ceiling for one process' descriptors, is 1,048,576 by default, and
/// the limits of 2^30 that container runtimes report mean nothing. Shards reserve address space, not memory, for all these
/// clients: 200 MB at most.
pub const MAX_CONNECTIONS_MAX: usize = 1 << 20;
/// The open-file limit that is assumed where the system reports none: the usual soft limit.
pub const OPEN_FILES_UNKNOWN: u64 = 1024;
/// Descriptors of the process itself: 3 standard streams, the listeners, polls and wakers of the runtime and of ingest, signals,
/// the upstream, name look-ups, a file being read, and for each listener one connection that has no place yet.
/// 20 were counted with one connection to Redis for the feed and one for look-ups; [`UPSTREAM_ADDRESSES_MAX`] and
/// [`LAST_VALUE_NODES_MAX`] add 14, the key server's addresses and the look-up of its name 3.
pub const FD_PROCESS: usize = 38;
/// Descriptors of a shard: its poll and its waker.
pub const FD_SHARD: usize = 2;
/// Descriptors that `MAX_CONNECTIONS` leaves free by default: those of the process, of the largest number of shards, of all
/// workers and of every HTTP connection in flight. Under a small open-file limit a quarter of it is left free instead
/// ([`connections_for`]).
pub const FD_RESERVE: usize =
    FD_PROCESS + FD_SHARD * SHARDS_MAX + EMBEDDED_REDIS_CLIENTS_MAX + HTTP_IN_FLIGHT_MAX;
/// Workers and tools connected to the embedded broker at a time; one more is refused as redis-server refuses it. A worker uses one
/// connection or a small pool, so there is room for dozens of workers, which is enough on one machine. Each connection takes a
/// descriptor from the clients. With an unfinished command of 2 MiB each, all together hold 512 MiB.
pub const EMBEDDED_REDIS_CLIENTS_MAX: usize = 256;

/// The default of `MAX_CONNECTIONS` under an open-file limit of `open_files`: all but [`FD_RESERVE`], but at least three
/// quarters of the limit, and between 1 and [`MAX_CONNECTIONS_MAX`].
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

// --- Socket.IO over HTTP ---

/// Packets that wait for a long-polling client's next request, in bytes, unless a single one is larger. As much as the kernel holds for a socket;
/// behind that is the outbox. A client's own packets take at most 7 times `MAX_MESSAGE_SIZE` beside them: a packet of a byte becomes a frame of 7.
pub const POLLING_BYTES_MAX: usize = 64 * KIB;
/// How long a long-polling request waits for packets.
pub const POLL_WAIT: Duration = Duration::from_secs(10);

// --- HTTP and the handshake ---

/// The time from `accept` to the end of the first request's header, and so for a handshake. A browser needs one round trip;
/// 5 s allow for a lost SYN and a lost segment (1 s + 3 s), and still end a half-open handshake soon. On Linux the kernel accepts a silent peer only
/// after about a second.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// How often an HTTP connection is checked after its first request. It is closed if no request has come since the last check,
/// and so ends 20 to 40 s after its last request. That covers keep-alive, headers that arrive slowly, and peers that don't
/// read answers. A scraper that comes every 15 s keeps its connection.
pub const HTTP_IDLE_TIMEOUT_MS: u64 = 20_000;
/// How long the gateway reads and discards a peer's input after closing its own side of an HTTP connection. A close with
/// unread input would reset the connection, and the peer might lose the answer.
pub const HTTP_LINGER_MS: u64 = 500;
/// How many bytes it reads in that time at most.
pub const HTTP_LINGER_BYTES: usize = 256 * KIB;
/// How long HTTP connections get to finish their request when the gateway stops.
pub const HTTP_DRAIN_TIMEOUT_MS: u64 = 1_000;
/// Header fields in a request: a browser sends about 15, proxies add a handful. More are answered 431.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of a request line and header, and so the memory that a connection takes before it is upgraded. Cookies of a shared
/// domain need more than a few hundred. More are answered 431.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 * KIB;
/// Questions of `/v1/last` that wait for ingest at a time; a further one is answered 503. Ingest answers each with at most
/// [`LAST_SYMBOLS_MAX`] look-ups, so all of them cost it well below 10 ms.
pub const LAST_QUESTIONS_MAX: usize = 64;
/// Symbols of one question of `/v1/last`.
pub const LAST_SYMBOLS_MAX: usize = 100;
/// Bytes of the events in an answer of `/v1/last` with more than one: 100 trades have 20 kB. With [`HTTP_IN_FLIGHT_MAX`] answers that nobody
/// reads it bounds what they keep.
pub const LAST_ANSWER_BYTES_MAX: usize = MIB;
/// HTTP connections that aren't upgraded yet: 1024 × ([`HTTP_HEADER_BYTES_MAX`] + ~4 KiB of task) = 20 MiB at worst. Under TLS a session
/// comes to that: at most 64 KiB of a handshake's messages, or a record of [`TLS_RECORD_BYTES`] each way; 1024 × 84 KiB = 84 MiB.
/// A further one gets a place of the network that holds the most. There are fewer places where descriptors are few.
pub const HTTP_IN_FLIGHT_MAX: usize = 1024;
/// The fewest places for these, under the smallest open-file limit: a health check, a scraper and some handshakes.
pub const HTTP_IN_FLIGHT_MIN: usize = 8;
/// HTTP connections are closed after their answer instead of kept alive, while fewer places are free than all of them divided by
/// this.
pub const HTTP_CROWDED_PART: usize = 4;
/// How many bytes a client's TLS session encrypts at a time, and so how many wait beyond the outbox of a client that doesn't read: the
/// size of the largest record (RFC 8446 section 5.1). 10,000 such clients hold 160 MB.
pub const TLS_RECORD_BYTES: usize = 16 * KIB;
/// A file of certificates or keys: chains have some 10 KB, a system's authorities 250 KB.
pub const PEM_BYTES_MAX: u64 = MIB as u64;
/// How often the gateway looks for changes of files that may be replaced while it runs. A change has to be seen by two looks in a row,
/// so it is in use within three of these, 9 s.
pub const RELOAD_LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// The listen queue; the kernel caps it at `net.core.somaxconn` (4096 since Linux 5.4).
pub const LISTEN_BACKLOG: i32 = 4096;
/// The first pause after `accept` failed because descriptors or memory ran out; it doubles up to [`ACCEPT_BACKOFF_MAX`].
pub const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to accept. A freed descriptor is noticed within this time.
pub const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long a browser may cache the answer to `OPTIONS`.
pub const CORS_MAX_AGE_S: u64 = 600;
/// Networks (IPv4 addresses and /64s of IPv6) whose `CONNECTION_RATE_LIMIT` is remembered: 262,144 × 16 B = 4 MiB, taken at the start
/// where that limit is set. Beyond it those that have used the least are forgotten. Measured (`cargo bench --bench admission`): 4.6 MiB after a
/// walk through a million /64s, and 0.24 KiB for each connection that is held from a network of its own.
pub const RATED_NETWORKS_MAX: usize = 1 << 18;
/// Networks without a connection are forgotten once twice as many are known as had one the last time, but not before there are so many.
pub const NETWORKS_SWEPT_MIN: usize = 1024;
/// `MAX_CONNECTIONS_PER_USER`: some windows and a phone.
pub const USER_CONNECTIONS_DEFAULT: usize = 5;
/// With `ON_USER_LIMIT=close_oldest` a user's oldest connection is replaced at most once in this time: two clients that come back whenever
/// they are closed must not replace each other without end.
pub const USER_REPLACED_INTERVAL: Duration = Duration::from_secs(5);
/// Users without a connection that are known because they have used up something of `MESSAGE_RATE_LIMIT`. Beyond it those that have used the
/// least are forgotten. With those that are connected, and as many again before the table is swept, the table has at most
/// 2 × (`MAX_CONNECTIONS` + 16,384) users. Measured with names of 128 B (`cargo bench --bench admission`): 19 MiB, and 1.2 KiB a connection.
pub const USERS_OWING_MAX: usize = 1 << 14;
/// The table of users is not swept before it has so many.
pub const USERS_SWEPT_MIN: usize = 1024;
/// Connections to the operator's port at a time: scrapers, health checks and people. Where descriptors are few it is an eighth of what
/// HTTP has.
pub const OPS_IN_FLIGHT_MAX: usize = 64;
/// Bytes of `OPS_TOKEN`.
pub const OPS_TOKEN_BYTES_MAX: usize = 256;
/// Descriptors of the operator's port itself: its listener, twice, and a connection that is accepted before there is a place for it.
pub const FD_OPS: usize = 3;
/// `Retry-After` when full or draining, in seconds.
pub const RETRY_AFTER_S: u64 = 5;
/// How long `--healthcheck` waits for the gateway's answer.
pub const HEALTHCHECK_TIMEOUT_MS: u64 = 3_000;

// --- Clients' requests ---

/// `MAX_SYMBOLS_PER_CLIENT`: (type, symbol) pairs.
pub const MAX_SYMBOLS_DEFAULT: u64 = 5;
/// `DIALECT_MAX_SYMBOLS`: what Alpaca's free plan has.
pub const DIALECT_MAX_SYMBOLS_DEFAULT: u64 = 30;
/// Most that `MAX_SYMBOLS_PER_CLIENT` and `DIALECT_MAX_SYMBOLS` may be: 10,000 × (64 B symbol + ~64 B of index) = 1.3 MB a client.
pub const MAX_SYMBOLS_MAX: u64 = 10_000;
/// The longest token, in bytes: what the header of an HTTP request has room for.
pub const TOKEN_BYTES_MAX: usize = 16 * KIB;
/// So long before its token ends a client is told, or at once if it is less.
pub const TOKEN_EXPIRING_BEFORE: Duration = Duration::from_secs(60);
/// Browsers with a bad token that are told so over WebSocket, at a time: they can't read the status of an HTTP answer.
pub const TURNED_AWAY_MAX: usize = 256;
/// `AUTH_TIMEOUT`.
pub const AUTH_TIMEOUT_DEFAULT_MS: u64 = 10_000;
/// `JWT_LEEWAY`: clocks of servers that are kept at all differ by less.
pub const JWT_LEEWAY_DEFAULT_MS: u64 = 30_000;
/// Most that `JWT_LEEWAY` may be: beyond it an expiry means little.
pub const JWT_LEEWAY_MAX_MS: u64 = 3_600_000;
/// Least that `JWT_SECRET_KEY` may be, in bytes: as long as the shortest hash (RFC 7518 section 3.2).
pub const JWT_SECRET_MIN_BYTES: usize = 32;
/// Bytes of a key set, or of an issuer's discovery document: 64 RSA keys with their certificates have some 300 KB.
pub const JWKS_BYTES_MAX: usize = MIB;
/// Keys of a key set: issuers have two or three at a time, and one for each tenant at most. Further ones are ignored. Measured
/// (`cargo bench --bench admission`): so many EC keys take 33 KiB.
pub const JWKS_KEYS_MAX: usize = 64;
/// How many keys a token is tried with: a stranger can ask for as many verifications with each handshake, of 0.03 to 0.3 ms each.
pub const JWKS_KEYS_TRIED_MAX: usize = 8;
/// How many addresses of the key server are tried at once: one of IPv6 and one of IPv4.
pub const JWKS_ADDRESSES_MAX: usize = 2;
/// Bytes of the header of the key server's answer.
pub const JWKS_HEADER_BYTES_MAX: usize = 64 * KIB;
/// The longest time for fetching keys, discovery included.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a token whose key isn't known waits for a fetch. A client has waited for its handshake that long before.
pub const JWKS_WAIT: Duration = Duration::from_secs(3);
/// Tokens whose key isn't known have keys fetched at most once in this time: strangers can write any `kid`.
pub const JWKS_UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(30);
/// A key set is kept for as long at least, whatever its `Cache-Control` says.
pub const JWKS_FRESH_MIN: Duration = Duration::from_secs(10 * 60);
/// A key set is fetched again after this time at the latest, so that a key that was withdrawn ends.
pub const JWKS_FRESH_MAX: Duration = Duration::from_secs(60 * 60);
/// The first pause after keys could not be fetched; it doubles up to [`JWKS_BACKOFF_MAX`].
pub const JWKS_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to fetch keys.
pub const JWKS_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Of `MAX_CONNECTIONS`, one in so many may be clients that have yet to show who they are.
pub const UNAUTHENTICATED_PART: usize = 4;
/// The largest file of keys: some 100,000 API keys.
pub const KEY_FILE_MAX_BYTES: u64 = 16 * MIB as u64;
/// `MAX_MESSAGE_SIZE`: a subscribe to a thousand symbols of full length fits.
pub const MAX_MESSAGE_DEFAULT_BYTES: usize = 64 * KIB;
/// Least that `MAX_MESSAGE_SIZE` may be: one subscribe with an id and a symbol of full length.
pub const MAX_MESSAGE_MIN_BYTES: usize = 512;
/// Most that `MAX_MESSAGE_SIZE` may be: a client's unfinished message may take this much memory.
pub const MAX_MESSAGE_MAX_BYTES: usize = 16 * MIB;
/// A shard logs a message over `MESSAGE_WARN_SIZE` at most once in this time.
pub const MESSAGE_WARN_INTERVAL: Duration = Duration::from_secs(1);
/// Most that a rate may count: in the shortest period, [`RATE_PER_MIN`], that is one each microsecond, the clock's resolution.
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// The shortest period of a rate; the longest is [`TIME_MAX_MS`].
pub const RATE_PER_MIN: Duration = Duration::from_secs(1);

// --- Heartbeat and timeouts ---

/// `PING_INTERVAL`: below the 60 s after which common proxies close a silent connection.
pub const PING_INTERVAL_DEFAULT_MS: u64 = 30_000;
/// `PONG_TIMEOUT`.
pub const PONG_TIMEOUT_DEFAULT_MS: u64 = 5_000;
/// Least that `PING_INTERVAL`, `PONG_TIMEOUT` and `STALL_TIMEOUT` may be: a few ticks of a shard's timing wheel under load.
pub const HEARTBEAT_MIN_MS: u64 = 50;
/// The time between two `heartbeat` statuses to a client that asked for them.
pub const HEARTBEAT_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// `MAX_MISSED_PONGS`, in a row: with the defaults a dead peer is dropped after 3 × 30 s + 5 s at most.
pub const MAX_MISSED_PONGS_DEFAULT: u64 = 3;
/// `STALL_TIMEOUT`: how long a client may take no byte while data waits for it.
pub const STALL_TIMEOUT_DEFAULT_MS: u64 = 30_000;
/// `DRAIN_TIMEOUT`: how long clients may take to read their queued data when the gateway stops. Container runtimes kill after
/// 10 s (Docker) or 30 s (Kubernetes).
pub const DRAIN_TIMEOUT_DEFAULT_MS: u64 = 10_000;
/// Most of `DRAIN_TIMEOUT`.
pub const DRAIN_TIMEOUT_MAX_MS: u64 = 10 * 60 * 1000;
/// How long the gateway waits for the peer's close frame after its own.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a stream of server-sent events has a comment: browsers and proxies give up one that is silent for a minute or less.
pub const SSE_COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// `STATS_INTERVAL`: one line a minute in the log.
pub const STATS_INTERVAL_DEFAULT_MS: u64 = 60_000;
/// The longest time that any setting may be: one day.
pub const TIME_MAX_MS: u64 = 24 * 60 * 60 * 1000;

// --- Outboxes and the data path ---

/// `MAX_OUTBOX_BYTES`: 4 MiB of frames = 23,000 trades of 180 B, 10 s of 2,300 trades/s. Frames are shared, so this bounds how
/// far behind a client may be, not its memory.
pub const MAX_OUTBOX_DEFAULT_BYTES: usize = 4 * MIB;
/// Most that `MAX_OUTBOX_BYTES` may be.
pub const MAX_OUTBOX_MAX_BYTES: usize = 1024 * MIB;
/// Most events of one message of a JSON batch.
pub const BATCH_EVENTS_MAX: u32 = 1_000;
/// Largest payload of such a message, brackets included, in bytes; a larger event goes alone.
pub const BATCH_BYTES_MAX: usize = 64 * KIB;
/// Different messages of events that a shard compresses in a turn: at the default level and of 64 KiB each they take some 30 ms.
pub const DEFLATED_LISTS_MAX: usize = 64;
/// `COMPRESSION_THRESHOLD`: a trade alone saves a fifth when it is compressed, and costs every client that inflates it more than that is
/// worth. A batch saves five sixths.
pub const COMPRESSION_THRESHOLD_DEFAULT_BYTES: usize = 1024;
/// Most that `COMPRESSION_THRESHOLD` may be.
pub const COMPRESSION_THRESHOLD_MAX_BYTES: usize = 16 * MIB;
/// `COMPRESSION_LEVEL`: of 1 to 9.
pub const COMPRESSION_LEVEL_DEFAULT: u32 = 6;
/// Room in an outbox for pongs, replies and statuses, beyond `MAX_OUTBOX_BYTES`. More of them count towards `MAX_OUTBOX_BYTES`.
/// The shard doesn't read from a client while half of this is in use, so no more than one reply ever exceeds it.
pub const CONTROL_RESERVE_BYTES: usize = 64 * KIB;
/// `MAX_BACKLOG_BYTES`: batches that all outboxes together keep alive, replays on their way there, and what clients keep of
/// waiting snapshots (some 70 B a topic: 370 blocked clients with 10,000 topics each).
pub const MAX_BACKLOG_DEFAULT_BYTES: usize = 256 * MIB;
/// Most that `MAX_BACKLOG_BYTES` may be (1 TiB: any machine's memory).
pub const MAX_BACKLOG_MAX_BYTES: usize = 1024 * 1024 * MIB;
/// Bytes of batches waiting in one shard's inbox: 64 read budgets of ingest, some 90,000 trades.
pub const SHARD_INBOX_BYTES: usize = 16 * MIB;
/// How many bytes ingest reads in a turn before it hands its batches to the shards.
pub const INGEST_READ_BUDGET_BYTES: usize = 256 * KIB;
/// How long ingest reads in a turn before it hands its batches to the shards.
pub const INGEST_READ_BUDGET: Duration = Duration::from_millis(1);
/// Reads of the link that end at most this far apart, in microseconds, are close.
pub const READS_CLOSE_US: u64 = 50;
/// After how many close reads in a row ingest begins to pause: a burst is over before that.
pub const READS_CLOSE_UNTIL_PAUSE: u32 = 16;
/// How long ingest pauses after each read of a fast feed. Linux adds its timer slack (50 µs), so reads follow each other every 100 µs.
pub const READ_PAUSE: Duration = Duration::from_micros(40);
/// How long ingest waits for room in a shard's inbox before that shard counts as behind. Then its events are dropped, counted
/// and announced, without a further wait. At 100,000 events/s 5 ms are 500 events (90 kB), far below what the socket from
/// Redis buffers meanwhile.
pub const HANDOVER_WAIT: Duration = Duration::from_millis(5);
/// How many times ingest looks for room within [`HANDOVER_WAIT`].
pub const HANDOVER_PAUSES: u32 = 20;
/// `TCP_NOTSENT_LOWAT` of clients' sockets: unsent bytes that may wait in the kernel. That is half of one full write: enough to
/// fill a fast link, and little, because only the outbox can apply the slow-client policy.
pub const NOTSENT_LOWAT_BYTES: u32 = 32 * 1024;
/// A shard's shared read buffer, and so the most it reads from one socket at a time.
pub const READ_BUFFER_BYTES: usize = 64 * KIB;
/// `MAX_EVENT_BYTES`: a worker's payload.
pub const MAX_EVENT_DEFAULT_BYTES: usize = 64 * KIB;
/// Least that `MAX_EVENT_BYTES` may be: a trade with a symbol of full length.
pub const MAX_EVENT_MIN_BYTES: usize = 256;
/// Most that `MAX_EVENT_BYTES` may be: sixteen such events fit into a shard's inbox.
pub const MAX_EVENT_MAX_BYTES: usize = MIB;
/// The most bytes that a form adds to an event: `{"type":"…","data":` with a type of 32 bytes, `,"timestamp":` with 20 digits, a marker;
/// and 10 of WebSocket header, or of a server-sent event `event: …`, `id: …` with type, number and symbol, and `data: `.
pub const FRAME_OVERHEAD_MAX_BYTES: usize = 320;
/// Bytes of `CHANNEL_PREFIX`.
pub const CHANNEL_PREFIX_BYTES_MAX: usize = 128;
/// `CHANNEL_PREFIX`.
pub const CHANNEL_PREFIX_DEFAULT: &str = "channel:";
/// Most that `FLUSH_INTERVAL` may be; 0 (off, the default) lets a lone trade leave at once.
pub const FLUSH_INTERVAL_MAX_MS: u64 = 1_000;
/// Most that `SHARDS` may be: for each topic ingest keeps the shards that want it as the bits of a `u64`.
pub const SHARDS_MAX: usize = 64;

// --- History ---

/// `LAST_VALUE_MAX_TOPICS`: 10,000 × (~0.7 KiB of table + a value and its frame) = some 10 MB, and [`ASIDE_MAX_BYTES`]. At worst,
/// with every event of `MAX_EVENT_BYTES`, 10,000 × 2 × 64 KiB = 1.3 GiB.
pub const LAST_VALUE_TOPICS_DEFAULT: u64 = 10_000;
/// Most that `LAST_VALUE_MAX_TOPICS` may be; 0 is off.
pub const LAST_VALUE_TOPICS_MAX: u64 = 1_000_000;
/// How many events of a topic that no client wants are kept unchecked before one of them is checked. A check takes some 0.15 µs;
/// a thirty-second of that for each event is less than a hash look-up takes. (Measured: 16 cost 4-9 ns an event more.)
pub const PENDING_EVENTS: usize = 32;
/// An event of a topic that no client wants is checked at once if it is so large or larger.
pub const PENDING_BYTES: usize = 4 * KIB;
/// Memory of events that are kept unchecked, of all topics together: at first, and at most. At most it holds [`PENDING_EVENTS`] of some
/// 3,000 topics with events of 128 B; of more topics one in fewer events is checked.
pub const ASIDE_MIN_BYTES: usize = 64 * KIB;
/// See [`ASIDE_MIN_BYTES`].
pub const ASIDE_MAX_BYTES: usize = 16 * MIB;
/// How many topics are looked at to find one to forget, for each event of an unknown topic (in ingest's history, and on a shard
/// with patterns): 16 × ~10 ns.
pub const FORGET_STEPS: usize = 16;
/// The last sequence numbers of a topic of which it is known which have come: one bit each in a `u64`, so that an event that others have
/// overtaken is told from a repeat.
pub const SEQ_WINDOW: u64 = u64::BITS as u64;
/// How long a client that resumed ahead of this gateway is taken for ahead, in microseconds. Gateways of one Redis hear an event within
/// milliseconds of each other, and one that Redis doesn't cut off is less than its output buffer behind. 5 s.
pub const AHEAD_MAX_US: u64 = 5_000_000;
/// `REPLAY_EVENTS_PER_TOPIC`: 100 s of ten trades a second.
pub const REPLAY_EVENTS_DEFAULT: u64 = 1_000;
/// Most that `REPLAY_EVENTS_PER_TOPIC` may be; 0 is off. When a client resumes a topic, ingest walks over this many entries at
/// most: 100,000 × 0.3 µs (to check them, once) = 30 ms.
pub const REPLAY_EVENTS_MAX: u64 = 100_000;
/// `REPLAY_MAX_BYTES`, for all topics together: 64 MiB = 450,000 events of 120 B with 28 B each for the chain, 45 s of 10,000
/// events/s. The memory is allocated as it fills.
pub const REPLAY_DEFAULT_BYTES: usize = 64 * MIB;
/// Most that `REPLAY_MAX_BYTES` may be; 0 is off.
pub const REPLAY_MAX_MAX_BYTES: usize = 64 * 1024 * MIB;
/// How many topics a shard keeps for patterns alone before it retires idle ones: more than exchanges list, and of the order of
/// the topics with a history; or `LAST_VALUE_MAX_TOPICS` if that is more, so that a snapshot of everything fits.
/// 16,384 × (~0.4 KiB on the shard + ~0.2 KiB in ingest) = 10 MB a shard. Topics that are used again and again may be twice as
/// many ([`OPENED_TOPICS_FACTOR`]) before the shard retires them too; their next event opens them again.
pub const OPENED_TOPICS_MAX: usize = 16_384;
/// See [`OPENED_TOPICS_MAX`].
pub const OPENED_TOPICS_FACTOR: usize = 2;
/// How many topics with skipped events a client may have that aren't announced yet, as a multiple of the shard's bound on opened
/// topics. A client with more is closed as too slow. 4 × 16,384 × ~32 B = 2 MB.
pub const SKIPPED_TOPICS_FACTOR: usize = 4;
/// How many ended topics one mark in an outbox names. The shard walks over them for each announcement that is due at the mark.
pub const TOPICS_PER_MARK: usize = 256;

/// The shard moves last values into a client's outbox while fewer bytes than this wait there: enough for a full write.
pub const BACKFILL_BYTES: u32 = 64 * 1024;
/// How many keys of `LAST_VALUE_KEY` are looked up at a time: at most 500 × some 250 B = 125 kB of pipelined GETs.
pub const LAST_VALUE_KEYS_MAX: usize = 500;
/// How many nodes of a Redis Cluster look-ups keep connections to: each takes one of [`FD_PROCESS`]. In a cluster with more nodes
/// look-ups connect more often.
pub const LAST_VALUE_NODES_MAX: usize = 8;
/// How many redirections the look-up of one key follows: to the slot's node, to the node that the slot is moved to, and two more
/// for a move that ends meanwhile.
pub const LAST_VALUE_REDIRECTIONS_MAX: usize = 4;
/// Failed look-ups are logged at most once in this time.
pub const LAST_VALUE_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Least that one of `FEED_DELAYS` may be: a shorter delay is none that anybody licenses.
pub const FEED_DELAY_MIN_MS: u64 = 1_000;
/// `DELAY_MAX_BYTES`, for each of `FEED_DELAYS`: 256 MiB = 1.8 million events of 130 B with a symbol of 5 B and 11 B of their own, which is 15
/// minutes of 2,000 trades a second. The memory is allocated as it fills. Four delays take 1 GiB at most.
pub const DELAY_MAX_DEFAULT_BYTES: usize = 256 * MIB;
/// Least that `DELAY_MAX_BYTES` may be: four chunks, of which one is filled while another is read.
pub const DELAY_MAX_MIN_BYTES: usize = 4 * MIB;
/// Most that `DELAY_MAX_BYTES` may be.
pub const DELAY_MAX_MAX_BYTES: usize = 64 * 1024 * MIB;
/// What delayed feeds have due is released in steps of this time: ingest wakes up for it 100 times a second at most, and a delay is
/// never shorter than it was set.
pub const DELAY_TICK_MS: u64 = 10;
/// Topics whose events a full delayed feed counts as lost, at a time: as many as a client may be owed announcements of. 65,536 × ~0.1 KiB = 7 MB a
/// delay.
pub const DELAY_LOST_TOPICS_MAX: usize = SKIPPED_TOPICS_FACTOR * OPENED_TOPICS_MAX;
/// `STALE_AFTER`: a liquid symbol trades every few seconds, so a minute of silence is unusual.
pub const STALE_AFTER_DEFAULT_MS: u64 = 60_000;
/// How often ingest counts its silent topics: a million of them take some 10 ms.
pub const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

// --- Upstream ---

/// Bytes of a channel's name: prefix, type and the longest symbol fit several times over. Events on longer ones are discarded.
pub const CHANNEL_BYTES_MAX: usize = 1024;
/// The longest time for each step of connecting to the upstream: looking up the host, connecting, TLS, AUTH, PSUBSCRIBE.
pub const UPSTREAM_STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// If an address of a server has not answered within this time, the host's next one is tried beside it (RFC 8305 recommends 250 ms).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// How many addresses of a host one attempt tries: the last one begins 7 × 250 ms = 1.75 s after the first. If the host has more,
/// the next attempt tries others.
pub const UPSTREAM_ADDRESSES_MAX: usize = 8;
/// How many bytes of an error reply are logged: Redis' longest, of protected mode, has some 900.
pub const LOGGED_ERROR_BYTES: usize = 1024;
/// How many kinds of error replies are logged for one link.
pub const LOGGED_REFUSALS: usize = 8;
/// The first pause after the upstream was lost or an attempt failed; it doubles up to [`UPSTREAM_BACKOFF_MAX`].
pub const UPSTREAM_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts. With [`UPSTREAM_STEP_TIMEOUT`] a gateway is connected again at most 5 s after its
/// upstream is back.
pub const UPSTREAM_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// After this long without a byte from the upstream, ingest sends `PING`.
pub const UPSTREAM_QUIET: Duration = Duration::from_secs(5);
/// The link is lost if nothing comes within this time after the `PING`: a half-open link is found within 11 s.
pub const UPSTREAM_PONG_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest sleep of the ingest thread: it has to watch the link, and show `/health` that it isn't stuck.
pub const INGEST_SLEEP_MAX: Duration = Duration::from_secs(1);
/// How often ingest looks whether the inbox of a shard that is behind is half empty.
pub const HANDOVER_RETRY: Duration = Duration::from_millis(5);
/// Bytes of published events that wait for the ingest thread; publishers wait while there are more. Events that are published
/// together are not split, so each control thread may add one such batch: a transaction of the embedded broker (8 MiB).
pub const INGEST_INBOX_BYTES: usize = 4 * MIB;
/// Each kind of bad event is logged at most once in this time.
pub const REJECT_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// How many bytes of a bad event's symbol are logged: a symbol of full length.
pub const LOGGED_NAME_BYTES: usize = SYMBOL_BYTES_MAX;
/// How many bytes of a bad event's payload are logged: a whole trade.
pub const LOGGED_PAYLOAD_BYTES: usize = 120;

// --- How connections end ---

/// How long a close frame may wait for the frames queued before it, unless the gateway drains.
pub const CLOSE_FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// The range of `reconnectAfterMs` when the gateway drains. It is drawn at random, so that clients don't reconnect all at once.
pub const RECONNECT_AFTER_MS: RangeInclusive<u64> = 500..=5_000;
/// Threads of the control side's tasks: HTTP, TLS handshakes, the supervisor. One would do; with a second `/health` is answered while the
/// first computes the signatures of many TLS handshakes.
pub const CONTROL_THREADS: usize = 2;
/// Bytes of log lines that wait to be written: 1,300 lines of 200 B, far more than a gateway logs in a minute at level info.
pub const LOG_QUEUE_BYTES: usize = 256 * KIB;
/// How long the process waits at its end for the last log lines to be written.
pub const LOG_END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long tasks of the control side may take to end, once the threads of the data path have ended.
pub const TASKS_END_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = {
    assert!(HTTP_HEADER_BYTES_MAX >= 8 * KIB, "hyper refuses a smaller buffer");
    assert!(
        HANDSHAKE_TIMEOUT_MS < PING_INTERVAL_DEFAULT_MS,
        "a handshake is judged before a first ping would be due"
    );
    assert!(PONG_TIMEOUT_DEFAULT_MS <= PING_INTERVAL_DEFAULT_MS, "a pong is judged before the next ping");
    assert!(JWKS_WAIT.as_millis() < JWKS_TIMEOUT.as_millis() && JWKS_KEYS_TRIED_MAX <= JWKS_KEYS_MAX);
    assert!(JWKS_FRESH_MIN.as_secs() <= JWKS_FRESH_MAX.as_secs(), "a set's time has bounds");
    assert!(CLOSE_TIMEOUT.as_millis() < DRAIN_TIMEOUT_DEFAULT_MS as u128, "closing fits into draining");
    assert!(HTTP_DRAIN_TIMEOUT_MS < DRAIN_TIMEOUT_DEFAULT_MS);
    assert!(
        POLL_WAIT.as_millis() < HTTP_IDLE_TIMEOUT_MS as u128,
        "a request that waits keeps its connection"
    );
    assert!(HEARTBEAT_MIN_MS <= PONG_TIMEOUT_DEFAULT_MS && STALL_TIMEOUT_DEFAULT_MS <= TIME_MAX_MS);
    assert!(MAX_SYMBOLS_DEFAULT <= MAX_SYMBOLS_MAX && DIALECT_MAX_SYMBOLS_DEFAULT <= MAX_SYMBOLS_MAX);
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

/// `MAX_ROOMS_PER_USER`.
pub const ROOMS_PER_USER_DEFAULT: u64 = 50;
/// Most that it may be.
pub const ROOMS_PER_USER_MAX: u64 = 10_000;
/// `PRESENCE_GRACE`, in milliseconds.
pub const PRESENCE_GRACE_DEFAULT_MS: u64 = 10_000;
/// Longest that it may be: a gateway keeps who has gone for so long.
pub const PRESENCE_GRACE_MAX_MS: u64 = 3_600_000;
/// `PRESENCE_MAX_MEMBERS`.
pub const PRESENCE_MEMBERS_DEFAULT: u64 = 200;
/// Most that it may be: a join is told to so many members.
pub const PRESENCE_MEMBERS_MAX: u64 = 100_000;
/// What clients have written and is on its way to the upstream, in bytes, for all of a gateway: 4,096 short messages, or 256 of 64 KiB. Who comes when it
/// is full is refused.
pub const OUTGOING_BYTES_MAX: usize = 16 * MIB;
/// What every request counts among them beside its bytes: what is kept for it.
pub const OUTGOING_OVERHEAD_BYTES: usize = 4 * 1024;
/// The upstream confirms what clients publish within this time, or they are told that it has not.
pub const OUTGOING_TIMEOUT: Duration = Duration::from_millis(900);
/// A reply of which a part has come may take longer while more of it comes, but no longer than this: an inbox's entry of 512 MiB, the most that Redis
/// keeps in one string, at 75 Mbit/s.
pub const OUTGOING_REPLY_MAX: Duration = Duration::from_secs(60);
/// `REQUEST_TIMEOUT`, in milliseconds.
pub const REQUEST_TIMEOUT_DEFAULT_MS: u64 = 30_000;
/// Longest that it may be: a request is remembered for so long.
pub const REQUEST_TIMEOUT_MAX_MS: u64 = 600_000;
/// Requests of one connection that workers have yet to answer, at most.
pub const REQUESTS_MAX: usize = 16;
/// How many commands may be under way on the connection that publishes.
pub const OUTGOING_PIPELINE: usize = 512;
/// What a Redis Cluster may say of its nodes, in bytes: some 4,500 nodes, a line of 200 bytes for each, and all 16,384 slots listed alone, 6 bytes each.
pub const CLUSTER_NODES_BYTES: usize = MIB;
/// How often the node that is published over is asked whether it still has the cluster's slot 0.
pub const CLUSTER_ASK: Duration = Duration::from_secs(3);
/// How many nodes are asked at most, one after the other, for the one that has slot 0.
pub const CLUSTER_HOPS: usize = 4;
/// Kinds of losses of the desk that ingest counts for a shard that is behind. The clients of a shard that loses events of more are closed.
pub const DESK_LOSSES_MAX: usize = 65_536;
/// What gateways have told each other and is yet to be looked at, in messages: joins, leaves, entries of inboxes, and lists of who is where. 20 gateways with 2,500 pairs of
/// room and user each answer one that asks with 21 messages each, and one of them with 21 more for each gateway that is over: with three of those some 460. When all 20 ask in the
/// same moment, as they do once Redis is back, it is that times 20, and some may be lost. Lost joins and leaves, and what a gateway tells of itself, are told again after its next beat;
/// what another tells of one that is over is not, so that its users count as new when they come back.
pub const GOSSIP_QUEUE: usize = 4_096;

/// The time of `OFFLINE_QUEUE` where it names a number alone.
pub const OFFLINE_KEEP_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The shortest and the longest.
pub const OFFLINE_KEEP: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(90 * 24 * 3_600);
/// `OFFLINE_MAX_BYTES`.
pub const OFFLINE_MAX_DEFAULT_BYTES: usize = 64 * MIB;
/// Least that it may be.
pub const OFFLINE_MAX_MIN_BYTES: usize = MIB;
/// Most that it may be.
pub const OFFLINE_MAX_MAX_BYTES: usize = 64 * 1024 * MIB;
/// Most entries of one inbox that `OFFLINE_QUEUE` may name.
pub const INBOX_ENTRIES_MAX: u32 = 10_000;
/// What a client gets of its inbox at once, in bytes: the next come once it has confirmed these. That many fit into an outbox beside live events.
pub const INBOX_BATCH_BYTES: usize = 256 * KIB;
/// Most entries that it gets at once.
pub const INBOX_BATCH_ENTRIES: usize = 64;
/// Clients that are being read a part of their inboxes at a time, so that what was asked last isn't refused for the time that the others take.
pub const INBOX_READS_MAX: usize = 32;
/// Live messages that are held for a client while it gets its inbox, in number; those beyond are read from the inbox.
pub const INBOX_HELD_MAX: usize = 128;
/// The same in bytes.
pub const INBOX_HELD_BYTES: usize = 256 * KIB;
/// Entries that a connection has got and not confirmed, at most: older ones stay in the inbox.
pub const INBOX_UNCONFIRMED_MAX: usize = 1_024;
/// Entries that a connection has got lately, so that none comes twice.
pub const INBOX_SEEN_MAX: usize = 256;
/// Entries of all users that are to be deleted and wait until Redis is there. Beyond that the oldest are forgotten: their users get them again.
pub const INBOX_UNDELETED_MAX: usize = 16_384;
/// How often inboxes of users who are here are looked through for what workers have put there. The task's tick comes to it: within a second.
pub const INBOX_SWEEP: Duration = Duration::from_millis(800);
/// What one command may bring of them, in bytes, if all entries are as large as they may be: so many inboxes are looked through with it. Of larger entries
/// no more than this is kept of a reply.
pub const INBOX_SWEEP_BYTES: usize = 8 * MIB;
/// Most inboxes that are looked through with one command.
pub const INBOX_SWEEP_USERS: usize = 64;
/// Entries of each. An inbox that has more is looked through further by itself, [`INBOX_BATCH_ENTRIES`] at a time.
pub const INBOX_SWEEP_ENTRIES: usize = 2;
/// Commands that look through inboxes and are under way, at most.
pub const INBOX_SWEEPS_MAX: usize = 4;
/// How often an inbox is said to be in use while its user is here, at least.
pub const INBOX_TOUCH: Duration = Duration::from_secs(3_600);
/// Inboxes of which that is said at once.
pub const INBOX_TOUCH_USERS: usize = 256;
/// The most elements of an array in a reply about inboxes: an entry of more than half as many fields is none that can be delivered.
pub const INBOX_REPLY_ELEMENTS: usize = 1_024;
/// The longest reply about inboxes: the strings, and at most 15 bytes of each element beside, for 64 entries or for two of each of 64 inboxes.
pub const INBOX_REPLY_BYTES: usize = 2 * INBOX_SWEEP_BYTES;

const _: () = assert!(
    INBOX_SWEEP_BYTES + 15 * INBOX_SWEEP_USERS * INBOX_SWEEP_ENTRIES * (INBOX_REPLY_ELEMENTS + 8)
        <= INBOX_REPLY_BYTES
);
const _: () =
    assert!(INBOX_SWEEP_USERS + 2 <= INBOX_REPLY_ELEMENTS && INBOX_BATCH_ENTRIES <= INBOX_REPLY_ELEMENTS);
const _: () = assert!(INBOX_SWEEP_ENTRIES * MAX_EVENT_MAX_BYTES <= INBOX_SWEEP_BYTES);
const _: () = assert!(2 * INBOX_BATCH_BYTES <= MAX_OUTBOX_DEFAULT_BYTES);
