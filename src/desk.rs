//! The desk: rooms, people and notifications beside the prices. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`id`] | the names of rooms and users |
//! | [`rights`] | the rooms that a client may join |
//! | [`envelope`] | what gateways tell each other of a room, a user, or themselves |
//! | [`event`] | an event of the desk as clients get it, and to whom it goes |
//! | [`hex_id`] | random names: of a gateway's run, of a connection |
//! | [`inbox`] | what is kept for users who are away |
//! | [`origin`] | which connection has caused an event, and how many users there are then |
//! | [`presence`] | who is in which room, over all gateways |
//!
//! Whatever a client says goes to Redis and comes back to every gateway like any event, so a room has one order, the same for all its members.
//! The shards hold the members (`fanout::shard`), `outgoing` publishes, ingest takes what comes back.

pub mod envelope;
pub mod event;
pub mod hex_id;
pub mod id;
pub mod inbox;
pub mod origin;
pub mod presence;
pub mod rights;

pub use self::hex_id::{GatewayId, PublicId};
pub use self::id::DeskId;
pub use self::origin::Origin;

/// What the desk's own channels have behind `CHANNEL_PREFIX`: only gateways publish there.
pub const DESK_CHANNELS: &str = "desk:";
/// Behind [`DESK_CHANNELS`]: what members of a room say and do.
pub const ROOM: &str = "room:";
/// Behind [`DESK_CHANNELS`]: what one user says to another.
pub const USER: &str = "user:";
/// Behind [`DESK_CHANNELS`]: what gateways tell each other of who is where.
pub const PRESENCE: &str = "presence";

/// Where workers are asked, behind `CHANNEL_PREFIX`.
pub const REQUEST: &str = "request";
/// What the channels of responses have behind `CHANNEL_PREFIX`, before the gateway and the connection.
pub const REPLY: &str = "reply:";

/// The channels that a gateway with a desk is subscribed to, as patterns: those of gateways first, then those of workers.
pub fn patterns(channel_prefix: &str, has_requests: bool) -> Vec<String> {
    let names =
        ["desk:*", "room:*", "user:*", "broadcast"].into_iter().chain(has_requests.then_some("reply:*"));
    names.map(|name| format!("{channel_prefix}{name}")).collect()
}
