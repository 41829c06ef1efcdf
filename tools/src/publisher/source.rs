//! Where trades come from, and when: the made-up market, or recorded lines.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use ws_gateway::demo::Market;
use ws_gateway::demo::pace::Schedule;
use ws_gateway::market::Symbol;

use super::lines::{Line, Lines};

/// The most trades in one pipeline: enough to make the round trip to Redis cheap, and few enough that the answer to
/// one comes long before the time limit.
pub const BATCH_MAX: usize = 512;

/// A batch takes no further line once it holds so many bytes (1 MiB), however few lines that are.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Trades that go to Redis in one pipeline.
#[derive(Debug)]
pub struct Batch {
    prefix: String,
    messages: Vec<Message>,
    bytes: usize,
}

/// One PUBLISH.
#[derive(Debug)]
pub struct Message {
    /// `<prefix>trade:<SYMBOL>`.
    pub channel: String,
    /// The JSON object.
    pub payload: Vec<u8>,
}

impl Batch {
    /// An empty one whose channels begin with `prefix` and then `trade:`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}trade:"), messages: Vec::new(), bytes: 0 }
    }

    /// What is in it, in the order of publishing.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    fn push(&mut self, symbol: &Symbol, payload: Vec<u8>) {
        self.bytes += payload.len();
        self.messages.push(Message { channel: format!("{}{symbol}", self.prefix), payload });
    }

    fn has_room(&self, limit: usize) -> bool {
        self.messages.len() < limit && self.bytes < BATCH_BYTES_MAX
    }
}

/// Trades with their times.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    start: Instant,
}

#[derive(Debug)]
enum Kind {
    Market(Market),
    Lines {
        lines: Lines,
        /// `None`: as they come.
        schedule: Option<Schedule>,
        /// Read, but not due yet.
        next: Option<Line>,
    },
}

impl Source {
    /// The made-up market, beginning now.
    pub fn market(market: Market) -> Self {
        Self { kind: Kind::Market(market), start: Instant::now() }
    }

    /// The lines of `input`, evenly at `rate` a second, or as they come.
    pub fn lines(input: impl Read + Send + 'static, rate: Option<f64>) -> Self {
        let schedule = rate.map(|rate| Schedule::steady(1, rate, 0));
        Self { kind: Kind::Lines { lines: Lines::read(input), schedule, next: None }, start: Instant::now() }
    }

    /// Waits until at least one trade is due and fills the batch with those that are, at most `left` of them.
    /// False: there are no more.
    ///
    /// # Errors
    /// If the input can't be read.
    pub async fn fill(&mut self, batch: &mut Batch, left: u64) -> anyhow::Result<bool> {
        batch.clear();
        let limit = usize::try_from(left).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        let start = self.start;
        match &mut self.kind {
            Kind::Market(market) => {
                let Some(due_us) = market.due_us() else { return Ok(false) };
                tokio::time::sleep_until(start + Duration::from_micros(due_us)).await;
                let (elapsed_us, now_ms) = (elapsed_us(start), unix_ms());
                while batch.has_room(limit)
                    && let Some(trade) = market.next(elapsed_us, now_ms)
                {
                    let mut payload = Vec::with_capacity(128);
                    trade.write_json(&mut payload);
                    batch.push(trade.symbol, payload);
                }
            }
            Kind::Lines { lines, schedule, next } => {
                if next.is_none() {
                    *next = lines.next().await?;
                }
                if next.is_none() {
                    return Ok(false);
                }
                if let Some(due_us) = schedule.as_ref().and_then(Schedule::due_us) {
                    tokio::time::sleep_until(start + Duration::from_micros(due_us)).await;
                }
                let elapsed_us = elapsed_us(start);
                while batch.has_room(limit)
                    && schedule.as_mut().is_none_or(|schedule| schedule.take(elapsed_us).is_some())
                {
                    let Some(line) = next.take() else { break };
                    batch.push(&line.symbol, line.payload);
                    *next = lines.try_next()?;
                }
            }
        }
        Ok(true)
    }

    /// Redis was away: what was due meanwhile is put off instead of being made up for in a burst.
    pub fn resume(&mut self) {
        let elapsed_us = elapsed_us(self.start);
        match &mut self.kind {
            Kind::Market(market) => market.resume(elapsed_us),
            Kind::Lines { schedule: Some(schedule), .. } => schedule.resume(elapsed_us),
            Kind::Lines { schedule: None, .. } => {}
        }
    }

    /// How late the next trade already is.
    pub fn behind(&self) -> Duration {
        let due_us = match &self.kind {
            Kind::Market(market) => market.due_us(),
            Kind::Lines { schedule, .. } => schedule.as_ref().and_then(Schedule::due_us),
        };
        Duration::from_micros(due_us.map_or(0, |due_us| elapsed_us(self.start).saturating_sub(due_us)))
    }

    /// Lines that were no trades.
    pub fn skipped(&self) -> u64 {
        match &self.kind {
            Kind::Market(_) => 0,
            Kind::Lines { lines, .. } => lines.skipped(),
        }
    }
}

fn elapsed_us(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(lines: usize) -> std::io::Cursor<Vec<u8>> {
        let line = |n| format!("{{\"symbol\":\"S{n}\",\"price\": 1.50}}\n");
        std::io::Cursor::new((0..lines).map(line).collect::<String>().into_bytes())
    }

    async fn drain(mut source: Source, left: u64) -> Vec<Message> {
        let (mut batch, mut all) = (Batch::new("c:"), Vec::new());
        while (all.len() as u64) < left && source.fill(&mut batch, left - all.len() as u64).await.unwrap() {
            assert!((1..=BATCH_MAX).contains(&batch.messages().len()));
            all.append(&mut batch.messages);
        }
        all
    }

    #[tokio::test]
    async fn lines_go_out_in_order_and_unchanged() {
        let messages = drain(Source::lines(input(2_000), None), u64::MAX).await;
        assert_eq!(messages.len(), 2_000);
        for (n, message) in messages.iter().enumerate() {
            assert_eq!(message.channel, format!("c:trade:S{n}"));
            assert_eq!(message.payload, format!("{{\"symbol\":\"S{n}\",\"price\": 1.50}}").into_bytes());
        }
    }

    #[tokio::test]
    async fn paced_lines_are_all_published_too() {
        assert_eq!(drain(Source::lines(input(700), Some(1e7)), u64::MAX).await.len(), 700);
        assert_eq!(drain(Source::lines(input(700), Some(1e7)), 3).await.len(), 3);
    }

    #[tokio::test]
    async fn no_batch_exceeds_what_is_left() {
        let symbols = vec![Symbol::parse(b"AAPL").unwrap()];
        let messages = drain(Source::market(Market::steady(symbols, 1e7, 1)), 1_000).await;
        assert_eq!(messages.len(), 1_000);
        assert!(messages.iter().all(|message| message.channel == "c:trade:AAPL"));
    }
}
