//! Where events come from, and when: the made-up market, or recorded lines.

use std::io::Read;
use std::time::Duration;

use tokio::time::Instant;
use ws_gateway::demo::Market;
use ws_gateway::demo::events::Events;
use ws_gateway::demo::pace::Schedule;
use ws_gateway::market::Symbol;
use ws_gateway::unix_time::unix_ms;

use super::lines::{Line, Lines};

/// The most events in one pipeline: enough to make the round trip to Redis cheap, and few enough that the answer to
/// one comes long before the time limit.
pub const BATCH_MAX: usize = 512;

/// A batch takes no further line once it holds so many bytes (1 MiB), however few lines that are.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Where the type stands in the key of a last value.
const TYPE_PLACE: &str = "{type}";

/// Events that go to Redis in one pipeline.
#[derive(Debug)]
pub struct Batch {
    prefix: String,
    last_value_key: Option<String>,
    messages: Vec<Message>,
    bytes: usize,
}

/// One PUBLISH.
#[derive(Debug)]
pub struct Message {
    /// What the payload is.
    pub type_name: String,
    /// `<prefix><type>:<SYMBOL>`.
    pub channel: String,
    /// Where the payload is kept as the topic's last value as well.
    pub last_value_key: Option<String>,
    /// The JSON object.
    pub payload: Vec<u8>,
}

impl Batch {
    /// An empty one whose channels begin with `prefix`; `last_value_key` as `--last-value-key` has it.
    pub fn new(prefix: &str, last_value_key: Option<String>) -> Self {
        Self { prefix: prefix.to_owned(), last_value_key, messages: Vec::new(), bytes: 0 }
    }

    /// What is in it, in the order of publishing.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    fn push(&mut self, type_name: &str, symbol: &Symbol, payload: Vec<u8>) {
        self.bytes += payload.len();
        let channel = format!("{}{type_name}:{symbol}", self.prefix);
        let last_value_key = self.last_value_key.as_deref().and_then(|key| key_of(key, type_name, symbol));
        let type_name = type_name.to_owned();
        self.messages.push(Message { type_name, channel, last_value_key, payload });
    }

    fn has_room(&self, limit: usize) -> bool {
        self.messages.len() < limit && self.bytes < BATCH_BYTES_MAX
    }
}

/// The key of a topic's last value: a key that doesn't name the type is for trades.
fn key_of(key: &str, type_name: &str, symbol: &Symbol) -> Option<String> {
    let is_named = key.contains(TYPE_PLACE);
    let of_type = || format!("{}{symbol}", key.replace(TYPE_PLACE, type_name));
    (is_named || type_name == "trade").then(of_type)
}

/// Events with their times.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    start: Instant,
}

#[derive(Debug)]
enum Kind {
    Market(Market, Events),
    Lines {
        lines: Lines,
        type_name: String,
        /// `None`: as they come.
        schedule: Option<Schedule>,
        /// Read, but not due yet.
        next: Option<Line>,
    },
}

impl Source {
    /// The made-up market, beginning now, and what becomes of its trades.
    pub fn market(market: Market, events: Events) -> Self {
        Self { kind: Kind::Market(market, events), start: Instant::now() }
    }

    /// The lines of `input`, events of one type, evenly at `rate` a second, or as they come.
    pub fn lines(input: impl Read + Send + 'static, type_name: &str, rate: Option<f64>) -> Self {
        let schedule = rate.map(|rate| Schedule::steady(1, rate, 0));
        let type_name = type_name.to_owned();
        let kind = Kind::Lines { lines: Lines::read(input), type_name, schedule, next: None };
        Self { kind, start: Instant::now() }
    }

    /// Waits until at least one event is due and fills the batch with those that are, at most `left` of them.
    /// False: there are no more.
    ///
    /// # Errors
    /// If the input can't be read.
    pub async fn fill(&mut self, batch: &mut Batch, left: u64) -> anyhow::Result<bool> {
        batch.clear();
        let limit = usize::try_from(left).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        let start = self.start;
        match &mut self.kind {
            Kind::Market(market, events) => {
                let Some(due_us) = market.due_us() else { return Ok(false) };
                tokio::time::sleep_until(start + Duration::from_micros(due_us)).await;
                let (elapsed_us, now_ms) = (elapsed_us(start), unix_ms());
                while batch.has_room(limit)
                    && let Some(trade) = market.next(elapsed_us, now_ms)
                {
                    let mut payload = Vec::with_capacity(128);
                    let kind = events.next(&trade, &mut payload);
                    batch.push(kind.market_name().unwrap_or_default(), trade.symbol, payload);
                }
            }
            Kind::Lines { lines, type_name, schedule, next } => {
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
                    batch.push(type_name, &line.symbol, line.payload);
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
            Kind::Market(market, _) => market.resume(elapsed_us),
            Kind::Lines { schedule: Some(schedule), .. } => schedule.resume(elapsed_us),
            Kind::Lines { schedule: None, .. } => {}
        }
    }

    /// How late the next event already is.
    pub fn behind(&self) -> Duration {
        let due_us = match &self.kind {
            Kind::Market(market, _) => market.due_us(),
            Kind::Lines { schedule, .. } => schedule.as_ref().and_then(Schedule::due_us),
        };
        Duration::from_micros(due_us.map_or(0, |due_us| elapsed_us(self.start).saturating_sub(due_us)))
    }

    /// Lines that named no symbol.
    pub fn skipped(&self) -> u64 {
        match &self.kind {
            Kind::Market(..) => 0,
            Kind::Lines { lines, .. } => lines.skipped(),
        }
    }
}

fn elapsed_us(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ws_gateway::market::{Kind as EventKind, SymbolCase};

    use super::*;

    fn input(lines: usize) -> std::io::Cursor<Vec<u8>> {
        let line = |n| format!("{{\"symbol\":\"S{n}\",\"price\": 1.50}}\n");
        std::io::Cursor::new((0..lines).map(line).collect::<String>().into_bytes())
    }

    async fn drain(mut source: Source, left: u64) -> Vec<Message> {
        let (mut batch, mut all) = (Batch::new("c:", None), Vec::new());
        while (all.len() as u64) < left && source.fill(&mut batch, left - all.len() as u64).await.unwrap() {
            assert!((1..=BATCH_MAX).contains(&batch.messages().len()));
            all.append(&mut batch.messages);
        }
        all
    }

    #[tokio::test]
    async fn lines_go_out_in_order_and_unchanged() {
        let messages = drain(Source::lines(input(2_000), "quote", None), u64::MAX).await;
        assert_eq!(messages.len(), 2_000);
        for (n, message) in messages.iter().enumerate() {
            assert_eq!(message.channel, format!("c:quote:S{n}"));
            assert_eq!(message.payload, format!("{{\"symbol\":\"S{n}\",\"price\": 1.50}}").into_bytes());
        }
    }

    #[tokio::test]
    async fn paced_lines_are_all_published_too() {
        assert_eq!(drain(Source::lines(input(700), "trade", Some(1e7)), u64::MAX).await.len(), 700);
        assert_eq!(drain(Source::lines(input(700), "trade", Some(1e7)), 3).await.len(), 3);
    }

    #[test]
    fn the_key_of_a_last_value_is_for_trades_unless_it_names_the_type() {
        let aapl = Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap();
        let of = |key, type_name| key_of(key, type_name, &aapl);
        assert_eq!(of("last:trade:", "trade").as_deref(), Some("last:trade:AAPL"));
        assert_eq!(of("last:trade:", "quote"), None);
        assert_eq!(of("last:{type}:", "quote").as_deref(), Some("last:quote:AAPL"));
    }

    #[tokio::test]
    async fn no_batch_exceeds_what_is_left() {
        let symbols = vec![Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap()];
        let events = Events::new([EventKind::TRADE].into_iter().collect(), None, 1);
        let messages = drain(Source::market(Market::steady(symbols, 1e7, 1), events), 1_000).await;
        assert_eq!(messages.len(), 1_000);
        assert!(messages.iter().all(|message| message.channel == "c:trade:AAPL"));
    }
}
