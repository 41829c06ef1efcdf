//! What the threads say to each other: the vocabulary of the data path and of those who speak to it.
//!
//! | part | what it is |
//! |---|---|
//! | [`inbox`] | the queue by which a thread of the data path is spoken to |
//! | [`frames`] | frames on their way from ingest to a shard, and topic ids |
//! | [`to_shard`] | what a shard is told, by ingest and by the control side |
//! | [`to_ingest`] | what shards, and the control side, ask of ingest |
//! | [`to_control`] | what a shard tells the control side |
//! | [`desk`] | what all of them say of rooms and users |
//! | [`arrival`] | a client on its way from the control side to a shard |
//! | [`user_seat`] | a connection's place among those of its user |
//! | [`fn_sender`] | how shards, ingest and the control side speak to each other |
//! | [`budget`] | how much of what clients have missed may be on its way to a shard |
//!
//! Nothing in here decides anything. Ingest, the shards and the control side all import it; ingest and the shards don't import each other.

pub mod arrival;
pub mod budget;
pub mod desk;
pub mod fn_sender;
pub mod frames;
pub mod inbox;
pub mod to_control;
pub mod to_ingest;
pub mod to_shard;
pub mod user_seat;

pub use self::arrival::{Adopt, Arrival, Count, Newcomer, Seat, Standing};
pub use self::budget::ReplayBudget;
pub use self::desk::{
    DeskAnswer, DeskAsk, DeskEvent, DeskEvents, DeskHeard, DeskNews, DeskOrder, DeskWish, OutgoingHeld,
    OutgoingSpace,
};
pub use self::fn_sender::FnSender;
pub use self::frames::{Entry, Frames, SeqChange, SeqNotice, Seqs, TopicId};
pub use self::to_control::{ControlSender, ToControl};
pub use self::to_ingest::{HistoryRequest, LastEvent, LastQuestion, LastSender, Ticket, Wish, WishSender};
pub use self::to_shard::{Denied, Feed, HistoryReply, LookedUp, ShardPort, ToShard, Verified};
pub use self::user_seat::{UserSeat, UserShare};
