//! Settings of the desk: rooms, people, notifications.

use std::time::Duration;

use super::setting::{Alias, Given, Group, Preset, Setting, Unit, Value, Zero};
use super::units;
use crate::limits::{
    INBOX_ENTRIES_MAX, OFFLINE_KEEP, OFFLINE_KEEP_DEFAULT, OFFLINE_MAX_DEFAULT_BYTES, OFFLINE_MAX_MAX_BYTES,
    OFFLINE_MAX_MIN_BYTES, PRESENCE_GRACE_DEFAULT_MS, PRESENCE_GRACE_MAX_MS, PRESENCE_MEMBERS_DEFAULT,
    PRESENCE_MEMBERS_MAX, REQUEST_TIMEOUT_DEFAULT_MS, REQUEST_TIMEOUT_MAX_MS, ROOMS_PER_USER_DEFAULT,
    ROOMS_PER_USER_MAX,
};
use crate::rate::Rate;

/// The desk.
#[derive(Debug, Clone)]
pub struct Desk {
    /// `DESK`.
    pub is_on: bool,
    /// `ROOMS_DEFAULT`.
    pub rooms_default: RoomsDefault,
    /// `MAX_ROOMS_PER_USER`.
    pub max_rooms_per_user: usize,
    /// `PRESENCE_GRACE`.
    pub presence_grace: Duration,
    /// `PRESENCE_MAX_MEMBERS`.
    pub presence_max_members: usize,
    /// `REQUESTS`.
    pub requests: bool,
    /// `REQUEST_TIMEOUT`.
    pub request_timeout: Duration,
    /// `OFFLINE_QUEUE`; `None` = nothing is kept for users who are away.
    pub offline_queue: Option<OfflineQueue>,
    /// `OFFLINE_MAX_BYTES`.
    pub offline_max_bytes: usize,
}

/// What is kept for a user who is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineQueue {
    /// Most entries.
    pub entries: u32,
    /// How long, since the user was last connected.
    pub keep: Duration,
}

/// The rooms of a client whose token says nothing of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RoomsDefault {
    /// All.
    #[default]
    Allow,
    /// None.
    Deny,
}

impl RoomsDefault {
    const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            is_on: false,
            rooms_default: RoomsDefault::Allow,
            max_rooms_per_user: ROOMS_PER_USER_DEFAULT as usize,
            presence_grace: Duration::from_millis(PRESENCE_GRACE_DEFAULT_MS),
            presence_max_members: PRESENCE_MEMBERS_DEFAULT as usize,
            requests: false,
            request_timeout: Duration::from_millis(REQUEST_TIMEOUT_DEFAULT_MS),
            offline_queue: None,
            offline_max_bytes: OFFLINE_MAX_DEFAULT_BYTES,
        }
    }
}

pub(super) const GROUP: Group = Group {
    title: "The desk: rooms, people, notifications",
    settings: &[
        Setting {
            env: "DESK",
            flag: "desk",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether clients may join rooms and write to each other, and workers may notify users: see docs/desk.md.",
            set: |config, given| given.store(&mut config.desk.is_on),
            show: |config, unit| config.desk.is_on.show(unit),
        },
        Setting {
            env: "ROOMS_DEFAULT",
            flag: "rooms-default",
            aliases: &[],
            unit: Unit::Choice(&["allow", "deny"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Whether a client whose token has no claim `rooms` may join every room, or none.",
            set: |config, given| given.store(&mut config.desk.rooms_default),
            show: |config, unit| config.desk.rooms_default.show(unit),
        },
        Setting {
            env: "MAX_ROOMS_PER_USER",
            flag: "max-rooms-per-user",
            aliases: &[Alias::same("WS_MAX_ROOMS_PER_USER")],
            unit: Unit::Number { min: 1, max: ROOMS_PER_USER_MAX },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How many rooms a user may be in at a time, over all its connections to this gateway.",
            set: |config, given| given.store(&mut config.desk.max_rooms_per_user),
            show: |config, unit| config.desk.max_rooms_per_user.show(unit),
        },
        Setting {
            env: "PRESENCE_GRACE",
            flag: "presence-grace",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: PRESENCE_GRACE_MAX_MS },
            zero: Zero::Zero,
            preset: Preset::Fixed,
            help: "How long a user is still in a room after its last connection has gone without leaving it: who is back by then \
                   has not been away for the others.",
            set: |config, given| given.store(&mut config.desk.presence_grace),
            show: |config, unit| config.desk.presence_grace.show(unit),
        },
        Setting {
            env: "PRESENCE_MAX_MEMBERS",
            flag: "presence-max-members",
            aliases: &[],
            unit: Unit::Number { min: 1, max: PRESENCE_MEMBERS_MAX },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "In a room with more users than this, members are told how many there are, once a second at most, in place of each \
                   that comes or goes.",
            set: |config, given| given.store(&mut config.desk.presence_max_members),
            show: |config, unit| config.desk.presence_max_members.show(unit),
        },
        Setting {
            env: "REQUESTS",
            flag: "requests",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether clients of the desk may ask workers something, on the channel `request` behind CHANNEL_PREFIX.",
            set: |config, given| given.store(&mut config.desk.requests),
            show: |config, unit| config.desk.requests.show(unit),
        },
        Setting {
            env: "REQUEST_TIMEOUT",
            flag: "request-timeout",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: REQUEST_TIMEOUT_MAX_MS },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How long a client waits for the workers' response before it is told TIMEOUT.",
            set: |config, given| given.store(&mut config.desk.request_timeout),
            show: |config, unit| config.desk.request_timeout.show(unit),
        },
        Setting {
            env: "OFFLINE_QUEUE",
            flag: "offline-queue",
            aliases: &[],
            unit: Unit::Rate { bare_per: OFFLINE_KEEP_DEFAULT },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How many messages are kept for a user who is away, and for how long since it was last connected, such as `100/7d` (a number alone \
                   is for a week). The same for all gateways.",
            set: |config, given| given.store(&mut config.desk.offline_queue),
            show: |config, unit| config.desk.offline_queue.show(unit),
        },
        Setting {
            env: "OFFLINE_MAX_BYTES",
            flag: "offline-max-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: OFFLINE_MAX_MIN_BYTES, max: OFFLINE_MAX_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How much of what clients have said is kept for all users together; what is said to a user while that is full is answered \
                   UNAVAILABLE.",
            set: |config, given| given.store(&mut config.desk.offline_max_bytes),
            show: |config, unit| config.desk.offline_max_bytes.show(unit),
        },
    ],
};

/// `None` = off.
impl Value for Option<OfflineQueue> {
    fn read(given: &Given<'_>) -> Option<Self> {
        let (entries, keep) = units::rate(given.text, OFFLINE_KEEP_DEFAULT)?;
        if entries == 0 {
            return Some(None);
        }
        let entries = u32::try_from(entries).ok().filter(|entries| *entries <= INBOX_ENTRIES_MAX)?;
        OFFLINE_KEEP.contains(&keep).then_some(Some(OfflineQueue { entries, keep }))
    }

    fn show(&self, unit: &Unit) -> String {
        let rate = self.and_then(|queue| Rate::new(queue.entries, queue.keep));
        rate.map_or_else(|| unit.show(0), units::show_rate)
    }
}

impl Value for RoomsDefault {
    fn read(given: &Given<'_>) -> Option<Self> {
        [Self::Allow, Self::Deny].into_iter().find(|default| default.word() == given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}
