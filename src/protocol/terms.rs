//! On which terms a client is served: words of the protocol, whatever the dialect writes for them.

/// What a request says of how its events are to be delivered. `None`: the request does not name it, so it stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// `"snapshot":true`: the last known event of each symbol first.
    pub snapshot: Option<bool>,
    /// `conflate`.
    pub conflate: Option<Conflate>,
    /// `maxRate`.
    pub max_rate: Option<MaxRate>,
    /// `onSlow`; of the connection.
    pub on_slow: Option<SlowClientPolicy>,
    /// `heartbeat`; of the connection.
    pub heartbeat: Option<bool>,
}

impl Options {
    /// The last known event of each symbol is wanted.
    pub fn wants_snapshot(&self) -> bool {
        self.snapshot == Some(true)
    }

    /// These, and where they name nothing, those.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            snapshot: self.snapshot.or(other.snapshot),
            conflate: self.conflate.or(other.conflate),
            max_rate: self.max_rate.or(other.max_rate),
            on_slow: self.on_slow.or(other.on_slow),
            heartbeat: self.heartbeat.or(other.heartbeat),
        }
    }
}

/// How many events of a topic may wait for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflate {
    /// All: every event is delivered.
    Off,
    /// One: a newer event replaces it.
    Latest,
    /// One: a newer trade replaces it and says what it stands for.
    Aggregate,
}

/// Updates a second of each topic, 0.1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxRate(f64);

impl MaxRate {
    /// A rate; `None` if it is out of bounds.
    pub fn new(per_second: f64) -> Option<Self> {
        (0.1..=1000.0).contains(&per_second).then_some(Self(per_second))
    }

    /// Microseconds between two updates of a topic.
    pub fn period_us(self) -> u64 {
        (1e6 / self.0).ceil() as u64
    }

    /// Updates a second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

/// What happens to a client whose outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClientPolicy {
    /// Its oldest events are skipped and the count is announced.
    Skip,
    /// From then on it gets the latest event of each topic, until it has caught up.
    Conflate,
    /// It is closed with 1013.
    Disconnect,
}

impl SlowClientPolicy {
    /// The policy of that word (`skip`, `conflate`, `disconnect`), as settings and clients write it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Skip, Self::Conflate, Self::Disconnect].into_iter().find(|policy| policy.word() == word)
    }

    /// The policy as a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Conflate => "conflate",
            Self::Disconnect => "disconnect",
        }
    }
}
