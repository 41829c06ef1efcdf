//! ws-gateway: prices from Redis Pub/Sub to thousands of screens.
//!
//! Workers publish trades as JSON to Redis; browsers and bots subscribe to symbols over WebSocket. Each trade becomes one
//! WebSocket frame, once, and those bytes are shared by every client that wants them.
//!
//! ```text
//! workers ── PUBLISH ─► Redis ─► ingest ─► market ─► protocol ─► bus ─► fanout: shard 0..n ─► outbox ─► websocket
//!                                (reads,    (checks   (writes     (one     (owns its           (bounded,  over
//!                                never      the       the frame,  batch    connections and     for each   transport
//!                                waits for  event)    once)       for each its part of         client)
//!                                a client)                        shard)   the index)
//! engine: the threads that run ingest and the shards
//! control, aside: http · auth · admission · broker · outgoing · config · gateway · logging · signals
//!                 (reaches the data path through the inboxes of ingest and the shards, and through atomics)
//! ```
//!
//! # Where things live
//!
//! | to change | look in |
//! |---|---|
//! | what is an acceptable event | [`market::event`] |
//! | a type of events | without a contract: none, `CHANNEL_TYPES` names it; with one: `market::kind` (its name), [`market::event`] (its fields), [`demo`] (simulated ones) |
//! | the bytes of an event or reply | [`protocol::native`] |
//! | the bytes of an event in another form | [`protocol::form`]; [`market::Form`] numbers the forms |
//! | several events in one message | `fanout::outbox::messages` |
//! | server-sent events | [`protocol::form`] (an event), [`protocol::sse`] (a reply or status), `http::sse` (the request) |
//! | what the gateway tells a client | [`protocol::reply`] (what), [`protocol::native`] (the bytes; a status: `native::write::status`), `fanout::shard` (when) |
//! | another vendor's protocol | [`protocol::api`] (its name), [`protocol::Dialect`] (messages), [`protocol::form`] (events), `http::dialects` (paths) |
//! | Socket.IO | [`protocol::socketio`] (`read`, `desk`, `write`, `event`), `fanout::shard::socketio` (namespaces), `http::socketio` (requests) |
//! | long-polling | `transport::Polling` (the bytes), `http::polling` (the requests) |
//! | what a client can ask for | [`protocol::request`] |
//! | what of it a client may have | [`identity`] |
//! | tokens, keys | [`auth`] (keys from a server: [`auth::remote_keys`]), [`identity::claims`] |
//! | WebSocket frames, close codes | [`websocket`] |
//! | compression | [`websocket::deflate`] (the bytes), [`protocol::form`] (events), `fanout::outbox::deflated` (messages of several) |
//! | what threads say to each other | [`bus`] |
//! | who gets an event | `ingest::router::interest` (which shards), [`fanout::index`] (which clients), [`market::patterns`] (`BTC-*`) |
//! | delayed feeds | `ingest::delayed` (what waits), [`ingest::router`] (a pass for each), [`market::Delay`] |
//! | what is remembered for those who come later | [`ingest::history`], [`ingest::look_up`] (`LAST_VALUE_KEY`), [`ingest::recall`], [`fanout::backfill`] |
//! | what happens to a slow client | [`fanout::slowness`] (when), [`fanout::outbox`] (what) |
//! | conflation, rates | [`fanout::conflation`] |
//! | rooms, users, who is there | [`desk`]; `fanout::shard::desk` (members), [`ingest::desk`] (what comes back), [`outgoing`] (what clients publish) |
//! | their bytes | requests: `protocol::native::desk`, `protocol::socketio::desk`; answers: `protocol::native::write`; events: [`desk::event`] |
//! | inboxes | `outgoing::inboxes` (Redis), `fanout::shard::desk::inbox` (each client's part), [`desk::inbox`] (entries) |
//! | reading Redis | [`ingest`], `ingest::upstream` (when), [`ingest::link`] (bytes) |
//! | reaching Redis, coming back after a loss | [`ingest::redis`] |
//! | reaching any server by its name | [`dial`] |
//! | the embedded broker | [`broker`]; a command: `broker::commands::table` |
//! | the Redis protocol as bytes | [`resp`] |
//! | HTTP, handshakes | [`http`]; `http::admit` (who is let in) |
//! | a counter | [`metrics`] (counted), `http::metrics_text` (`/metrics`), `http::reports` (`/stats`, `/health`), [`stats`] (the log); a reason: `market::event::reject`, `metrics::refusals` |
//! | the live page; simulated trades for it | `web/src` (`market.ts` keeps, the panels show; built: `web/dist`), `http::pages`; [`demo`] |
//! | from where a client connects | [`address`], [`http::handshake`] (header fields), [`address::proxy_header`] (PROXY protocol only) |
//! | how many connections may, and how often | [`admission`] |
//! | how many messages a client may send | `fanout::shard::requests`; bytes come in at `fanout::shard::input` |
//! | a setting | [`config`] (its row), [`limits`] (its bounds); who gets it: `gateway::wiring` (the data path), [`gateway`] (control) |
//! | which thread runs what | [`engine`] |
//! | the log; text from outside in it | [`logging`], [`escape`] |
//! | certificates and keys, TLS | [`tls`] (files, versions), `http::secure` (handshakes, reload), [`transport`] (bytes) |
//! | start and stop | [`gateway`] |
//!
//! # Threads
//!
//! | thread | owns | told through | when that is full | ends with |
//! |---|---|---|---|---|
//! | `shard-N` (`SHARDS`) | its connections, index, outboxes, timers | its inbox, [`limits::SHARD_INBOX_BYTES`] of events | events are dropped until it is half empty, counted, announced to its clients | the drain |
//! | `ingest`; with `SHARDS=1` a part of `shard-0` | interest, the link to Redis | its inbox, [`limits::INGEST_INBOX_BYTES`] of published events | publishers wait; Redis holds back what we don't read | [`gateway::Gateway::drain`], after the shards |
//! | `log` | standard error | its queue, [`limits::LOG_QUEUE_BYTES`] of lines | the line is lost and counted | the process |
//! | `accept`, `accept-ops` | a listening socket; plain handshakes | – | new connections wait in the listen queue | the start of a drain |
//! | `control` ([`limits::CONTROL_THREADS`], tokio) | HTTP, every other handshake, TLS, the supervisor, the broker, signals | – | an older one that waits for its peer gives up its place | the process |
//!
//! # Invariants
//!
//! * An event's frame is built once and shared. Built for each client are its replies; a status to all is built once. A client that asked for aggregates
//!   gets frames that are built once for every set of trades that some client has waiting.
//! * Nobody waits for a client: not ingest, not a shard, not another client. What a socket doesn't take stays in its outbox,
//!   and what the outbox doesn't take is announced to that client, exactly.
//! * Ingest waits for a shard once, for at most [`limits::HANDOVER_WAIT`], when the shard's inbox has no room. Until the shard has caught
//!   up it costs the others nothing, and is owed a bounded number of counts.
//! * A socket is written once a turn, however many frames are for it, unless it takes more than one write can offer.
//! * A connection is its struct and nothing else: no task, no timer, no buffer of its own while idle.
//! * Interest has one owner, ingest. A subscribe's answer travels in the same queue as the events, so its place among
//!   them is exact.
//! * Counters have one writer each and no lock; nothing is logged for an event.
//! * Every queue has a bound. Queues of events are bounded in bytes, and say what happens when they are full. Queues of requests and
//!   answers are bounded by who may ask: each message type in [`bus`] says by what.
//!
//! `docs/invariants.md` says where each is kept and which test would notice, `docs/internals.md` how the parts work, `docs/glossary.md` what
//! the words mean.

pub mod accept;
pub mod address;
pub mod admission;
pub mod auth;
pub mod backoff;
pub mod broker;
pub mod bus;
pub mod config;
pub mod demo;
pub mod desk;
pub mod dial;
pub mod engine;
pub mod escape;
pub mod fanout;
pub mod files;
pub mod gateway;
pub mod healthcheck;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod limits;
pub mod logging;
pub mod market;
pub mod metrics;
pub mod origin;
pub mod outgoing;
pub mod protocol;
pub mod rate;
pub mod reload;
pub mod resp;
pub mod signals;
pub mod state;
pub mod stats;
pub mod tls;
pub mod transport;
pub mod unix_time;
pub mod websocket;
