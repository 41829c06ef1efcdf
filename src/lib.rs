//! ws-gateway: prices from Redis Pub/Sub to thousands of screens.
//!
//! Workers publish trades as JSON to Redis; browsers and bots subscribe to symbols over WebSocket. Each trade becomes one
//! WebSocket frame, once, and those bytes are shared by every client that wants them.
//!
//! ```text
//! workers ── PUBLISH ─► Redis ─► ingest ─► market ─► frame ─► fan-out ─► shard 0..n ─► outbox ─► socket
//!                                (reads,    (checks   (built    (routes a   (owns its      (bounded,
//!                                never      the       once)     batch to    connections    per
//!                                waits on   event)              the shards  and its part   client)
//!                                a client)                      that want   of the index)
//!                                                               the topic)
//! control, aside: http · admission · config · gateway · metrics · state
//!                 (reaches the data path through the shards' inboxes and atomics, in no other way)
//! ```
//!
//! # Where things live
//!
//! | to change | look in |
//! |---|---|
//! | what is an acceptable event | [`market`] |
//! | the bytes of an event or reply | [`protocol::native`] |
//! | what a client may ask for | [`protocol::request`] |
//! | WebSocket frames, close codes | [`websocket`] |
//! | what threads say to each other | [`bus`] |
//! | who gets an event | [`ingest::router`] (which shards), [`fanout::index`] (which clients), [`market::patterns`] (`BTC-*`) |
//! | what is remembered for those who come later | [`ingest::history`], [`ingest::recall`], [`fanout::backfill`] |
//! | what happens to a slow client | [`fanout::slowness`] (when), [`fanout::outbox`] (what) |
//! | conflation, rates | [`fanout::conflation`] |
//! | reading Redis, coming back after a loss | [`ingest`], [`ingest::redis`] |
//! | the embedded broker | [`broker`] |
//! | the Redis protocol as bytes | [`resp`] |
//! | HTTP, handshakes, `/metrics` | [`http`] |
//! | settings and bounds | [`config`], [`limits`] |
//! | start and stop | [`gateway`] |
//!
//! # Threads
//!
//! | thread | owns | told through | when that is full | ends with |
//! |---|---|---|---|---|
//! | `shard-N` (`SHARDS`) | its connections, index, outboxes, timers | its inbox, [`limits::SHARD_INBOX_BYTES`] of events | the batch is dropped, counted, announced to its clients | the drain |
//! | `ingest` | interest, the link to Redis | its inbox, [`limits::INGEST_INBOX_BYTES`] of published events | publishers wait; Redis holds back what we don't read | [`gateway::Gateway::drain`], after the shards |
//! | `log` | standard error | its queue, [`limits::LOG_QUEUE_BYTES`] of lines | the line is lost and counted | the process |
//! | `control` ([`limits::CONTROL_THREADS`], tokio) | accept, HTTP, handshakes, the supervisor, the broker, signals | – | new connections wait in the listen queue | the process |
//!
//! # Invariants
//!
//! * A frame is built once. Nothing on the way to a client is formatted, encoded or allocated for each client.
//! * Nobody waits for a client: not ingest, not a shard, not another client. What a socket doesn't take stays in its outbox,
//!   and what the outbox doesn't take is announced to that client, exactly.
//! * A socket is written once for each batch, however many of its frames are for it.
//! * A connection is its struct and nothing else: no task, no timer, no buffer of its own while idle.
//! * Interest has one owner, ingest. A subscribe's answer travels in the same queue as the events, so its place among
//!   them is exact.
//! * Counters have one writer each and no lock; nothing is logged for an event.
//! * Every queue is bounded, in bytes, and says what happens when it is full.
//!
//! `docs/architecture.md` says where each is enforced and which test would notice.

pub mod accept;
pub mod admission;
pub mod backoff;
pub mod broker;
pub mod bus;
pub mod config;
pub mod demo;
pub mod escape;
pub mod fanout;
pub mod gateway;
pub mod healthcheck;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod logging;
pub mod market;
pub mod metrics;
pub mod origin;
pub mod protocol;
pub mod rate;
pub mod resp;
pub mod signals;
pub mod state;
pub mod stats;
pub mod transport;
pub mod websocket;
