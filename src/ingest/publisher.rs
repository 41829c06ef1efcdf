//! Publishes events to ingest without Redis: from the embedded broker, `--demo`, and programs that embed the gateway.

use std::time::Duration;

use super::Command;
use crate::bus::inbox::Sender;
use crate::limits;

/// How long a publisher waits before it looks for room again.
const ROOM_POLL: Duration = Duration::from_millis(1);

/// Takes the embedded broker's events: the gateway, or a test's stand-in.
pub trait EventSink: Clone + Send + Sync + 'static {
    /// Hands over events in the order in which they were published. Waits while the gateway's inbox is full. Until it returns,
    /// the broker neither answers the publisher nor reads from it.
    fn publish(&self, events: EventBatch) -> impl Future<Output = ()> + Send;
}

/// Events in one buffer, in the order in which they were published. The broker makes one from each read of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventBatch {
    bytes: Vec<u8>,
    /// For each event the ends of its channel and its payload in `bytes`.
    ends: Vec<(usize, usize)>,
}

impl EventBatch {
    /// Appends an event.
    pub fn push(&mut self, channel: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(channel);
        let channel_end = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.ends.push((channel_end, self.bytes.len()));
    }

    /// The events' channels and payloads.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(channel_end, end))| {
            (&self.bytes[start..channel_end], &self.bytes[channel_end..end])
        })
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The length of all channels and payloads, in bytes. It counts towards [`limits::INGEST_INBOX_BYTES`].
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Publishes events to the gateway. The same rules apply to them as to events from Redis: see `docs/protocol.md`.
#[derive(Debug, Clone)]
pub struct Publisher {
    ingest: Sender<Command>,
}

impl Publisher {
    pub(crate) fn new(ingest: Sender<Command>) -> Self {
        Self { ingest }
    }

    /// Publishes one event to a channel, such as `channel:trade:AAPL`; waits while the gateway's inbox is full.
    pub async fn publish(&self, channel: &[u8], payload: &[u8]) {
        let mut events = EventBatch::default();
        events.push(channel, payload);
        self.publish_all(events).await;
    }

    /// Publishes events in their order; waits while the gateway's inbox is full.
    pub async fn publish_all(&self, events: EventBatch) {
        while self.ingest.bytes() > limits::INGEST_INBOX_BYTES {
            tokio::time::sleep(ROOM_POLL).await;
        }
        let bytes = events.bytes();
        // The send fails only if the gateway has ended.
        let _ = self.ingest.send(Command::Publish(events), bytes);
    }
}

impl EventSink for Publisher {
    async fn publish(&self, events: EventBatch) {
        self.publish_all(events).await;
    }
}
