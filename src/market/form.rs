//! Forms: how the events of a subscription are written. Pure.
//!
//! The form is a part of the topic: the same symbol in another form is another topic, with an id of its own. So whatever goes by
//! topics (index, outboxes, conflation, patterns) needs no look at forms. Ingest writes an event once in each form that somebody wants.
//!
//! The market doesn't know what a form looks like: [`protocol::form`](crate::protocol::form) does.

/// A form, by its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form(u8);

/// What the bytes of a form are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A text frame with one JSON object.
    Json,
    /// The same object as a part of an array, without a frame of its own.
    JsonBatch,
    /// An event of a server-sent event stream.
    Sse,
}

impl Form {
    /// One JSON object in a text frame.
    pub const JSON: Self = Self(0);
    /// JSON objects, several of them in a text frame.
    pub const JSON_BATCH: Self = Self(1);
    /// Server-sent events.
    pub const SSE: Self = Self(2);

    /// Every form, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::JSON, Self::JSON_BATCH, Self::SSE];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in arrays that have one for each form.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// What its bytes are.
    #[inline]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::JSON_BATCH => Encoding::JsonBatch,
            Self::SSE => Encoding::Sse,
            _ => Encoding::Json,
        }
    }
}
