//! The simulated market's other types of events: a trade may become a quote, a candle, a headline or a halt instead. Pure; the
//! JSON is that of docs/protocol.md.

use std::collections::HashMap;
use std::io::Write as _;

use fastrand::Rng;

use super::walk::{Dollars, Trade};
use crate::market::{Kind, KindSet, Symbol};

/// The interval of a candle.
const CANDLE_MS: u64 = 60_000;

/// How often each type is drawn, in the order of [`Kind::MARKET`]. Trades and quotes are equally frequent.
const WEIGHTS: [u32; Kind::MARKET.len()] = [40, 40, 12, 5, 3];

const HEADLINES: [&str; 6] = [
    "beats estimates for the quarter",
    "to buy back shares",
    "is upgraded by two brokers",
    "opens a plant ahead of schedule",
    "names a new chief financial officer",
    "warns of weaker demand",
];

/// Turns trades into events of some types, and numbers them.
#[derive(Debug, Clone)]
pub struct Events {
    types: KindSet,
    rng: Rng,
    /// The first `seq` of a topic; `None` if events have none.
    seq_first: Option<u64>,
    topics: HashMap<(Kind, Symbol), u64>,
    states: HashMap<Symbol, State>,
}

/// The state of a symbol that its next event depends on.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    candle: Option<Candle>,
    is_halted: bool,
}

/// Prices are in cents.
#[derive(Debug, Clone, Copy)]
struct Candle {
    start_ms: u64,
    open: u64,
    high: u64,
    low: u64,
    close: u64,
    volume: u64,
}

impl Candle {
    /// Adds a trade to the candle, or begins a new one if its interval is over.
    fn with(candle: Option<Self>, trade: &Trade<'_>) -> Self {
        let (start_ms, price) = (trade.timestamp_ms / CANDLE_MS * CANDLE_MS, trade.price_cents);
        let new = Self { start_ms, open: price, high: price, low: price, close: price, volume: 0 };
        let candle = candle.filter(|candle| candle.start_ms == start_ms).unwrap_or(new);
        Self {
            high: candle.high.max(price),
            low: candle.low.min(price),
            close: price,
            volume: candle.volume + u64::from(trade.volume),
            ..candle
        }
    }
}

impl Events {
    /// Makes events of the market types among `types`. With `seq_first` each topic's events have a field `seq` that counts from there.
    pub fn new(types: KindSet, seq_first: Option<u64>, seed: u64) -> Self {
        let (topics, states) = (HashMap::new(), HashMap::new());
        let types = types.iter().filter(|kind| kind.is_market()).collect();
        Self { types, rng: Rng::with_seed(seed), seq_first, topics, states }
    }

    /// Turns a trade into an event, appends its JSON to `out` and returns its type. A candle sums up the trades that stayed
    /// trades. Between a halt and its end a symbol doesn't trade.
    pub fn next(&mut self, trade: &Trade<'_>, out: &mut Vec<u8>) -> Kind {
        let mut state = self.states.get(trade.symbol).copied().unwrap_or_default();
        let drawn = if state.is_halted { Kind::HALT } else { self.draw() };
        let trades = self.types.contains(Kind::TRADE);
        let current = state.candle.filter(|candle| candle.start_ms + CANDLE_MS > trade.timestamp_ms);
        let kind = match drawn {
            Kind::CANDLE if trades && current.is_none() => Kind::TRADE,
            other => other,
        };
        if kind == Kind::TRADE || !trades {
            state.candle = Some(Candle::with(state.candle, trade));
        }
        match kind {
            Kind::QUOTE => self.write_quote(trade, out),
            Kind::CANDLE => {
                write_candle(
                    trade,
                    current.or(state.candle).unwrap_or_else(|| Candle::with(None, trade)),
                    out,
                );
            }
            Kind::NEWS => self.write_news(trade, out),
            Kind::HALT => {
                state.is_halted = !state.is_halted;
                write_halt(trade, state.is_halted, out);
            }
            _ => trade.write_json(out),
        }
        self.states.insert(trade.symbol.clone(), state);
        self.number(kind, trade.symbol, out);
        kind
    }

    fn draw(&mut self) -> Kind {
        let weight = |kind: Kind| WEIGHTS[kind.index()];
        let sum: u32 = self.types.iter().map(weight).sum();
        let mut lot = if sum == 0 { 0 } else { self.rng.u32(0..sum) };
        for kind in self.types.iter() {
            match lot.checked_sub(weight(kind)) {
                Some(rest) => lot = rest,
                None => return kind,
            }
        }
        Kind::TRADE
    }

    /// Adds the topic's next `seq` as the last field.
    fn number(&mut self, kind: Kind, symbol: &Symbol, out: &mut Vec<u8>) {
        let Some(first) = self.seq_first else { return };
        let seq = self.topics.entry((kind, symbol.clone())).or_insert(first);
        out.pop();
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(out, r#","seq":{seq}}}"#);
        *seq += 1;
    }

    fn write_quote(&mut self, trade: &Trade<'_>, out: &mut Vec<u8>) {
        let Trade { symbol, price_cents, timestamp_ms, exchange, .. } = trade;
        let bid = Dollars(price_cents.saturating_sub(self.rng.u64(0..=2)).max(1));
        let ask = Dollars(bid.0 + self.rng.u64(1..=4));
        let (bid_size, ask_size) = (100 * self.rng.u32(1..=20), 100 * self.rng.u32(1..=20));
        let _ = write!(
            out,
            r#"{{"symbol":"{symbol}","bidPrice":{bid},"bidSize":{bid_size},"askPrice":{ask},"askSize":{ask_size},"timestamp":{timestamp_ms},"exchange":"{exchange}"}}"#
        );
    }

    fn write_news(&mut self, trade: &Trade<'_>, out: &mut Vec<u8>) {
        let Trade { symbol, timestamp_ms, .. } = trade;
        let headline = HEADLINES[self.rng.usize(0..HEADLINES.len())];
        let _ = write!(
            out,
            r#"{{"symbol":"{symbol}","headline":"{symbol} {headline}","timestamp":{timestamp_ms}}}"#
        );
    }
}

fn write_candle(trade: &Trade<'_>, candle: Candle, out: &mut Vec<u8>) {
    let Trade { symbol, timestamp_ms, .. } = trade;
    let Candle { open, high, low, close, volume, start_ms } = candle;
    let (open, high, low, close) = (Dollars(open), Dollars(high), Dollars(low), Dollars(close));
    let _ = write!(
        out,
        r#"{{"symbol":"{symbol}","interval":"1m","start":{start_ms},"open":{open},"high":{high},"low":{low},"close":{close},"volume":{volume},"timestamp":{timestamp_ms}}}"#
    );
}

fn write_halt(trade: &Trade<'_>, is_halted: bool, out: &mut Vec<u8>) {
    let Trade { symbol, timestamp_ms, .. } = trade;
    let status = if is_halted { "halted" } else { "resumed" };
    let _ = write!(
        out,
        r#"{{"symbol":"{symbol}","status":"{status}","reason":"LULD","timestamp":{timestamp_ms}}}"#
    );
}

#[cfg(test)]
mod tests {
    use super::super::walk::Walk;
    use super::*;
    use crate::market::SymbolCase;
    use crate::market::event::Checker;

    const START_MS: u64 = 1_700_000_000_000;

    fn all() -> KindSet {
        Kind::MARKET.into_iter().collect()
    }

    fn tape(mut events: Events, n: u64) -> Vec<(Kind, serde_json::Value)> {
        let mut walk = Walk::new(Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap(), 1);
        let event = |i| {
            let mut json = Vec::new();
            let kind = events.next(&walk.step(START_MS + i * 500), &mut json);
            assert!(
                Checker::with_max_bytes(65_536).check(kind, &json, b"AAPL").is_ok(),
                "{}",
                String::from_utf8_lossy(&json)
            );
            (kind, serde_json::from_slice(&json).unwrap())
        };
        (0..n).map(event).collect()
    }

    #[test]
    fn every_event_keeps_the_contract_of_its_type_and_all_types_occur() {
        let tape = tape(Events::new(all(), None, 1), 2_000);
        for kind in Kind::MARKET {
            assert!(tape.iter().filter(|(other, _)| *other == kind).count() > 20, "{kind:?}");
        }
        assert!(tape.iter().all(|(_, json)| json.get("seq").is_none()));
        for (kind, json) in tape {
            if kind == Kind::QUOTE {
                assert!(json["bidPrice"].as_f64() < json["askPrice"].as_f64(), "{json}");
            }
        }
    }

    #[test]
    fn trades_alone_are_the_walk_itself() {
        let mut walk = Walk::new(Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap(), 7);
        let mut events = Events::new([Kind::TRADE].into_iter().collect(), None, 1);
        for i in 0..100 {
            let trade = walk.step(START_MS + i);
            let (mut walked, mut drawn) = (Vec::new(), Vec::new());
            trade.write_json(&mut walked);
            assert_eq!(events.next(&trade, &mut drawn), Kind::TRADE);
            assert_eq!(drawn, walked);
        }
    }

    #[test]
    fn each_topic_is_numbered_on_its_own() {
        let mut next: HashMap<Kind, u64> = HashMap::new();
        for (kind, json) in tape(Events::new(all(), Some(5), 3), 1_000) {
            let seq = next.entry(kind).or_insert(5);
            assert_eq!(json["seq"], *seq);
            *seq += 1;
        }
    }

    #[test]
    fn candles_are_those_of_the_trades() {
        let mut prices: Vec<f64> = Vec::new();
        let (mut minute, mut volume, mut candles) = (0, 0, 0);
        for (kind, json) in tape(Events::new(all(), None, 5), 3_000) {
            let start = json["timestamp"].as_u64().unwrap() / CANDLE_MS * CANDLE_MS;
            if start != minute {
                prices.clear();
                (minute, volume) = (start, 0);
            }
            if kind == Kind::TRADE {
                prices.push(json["price"].as_f64().unwrap());
                volume += json["volume"].as_u64().unwrap();
            } else if kind == Kind::CANDLE {
                candles += 1;
                let price = |field: &str| json[field].as_f64().unwrap();
                assert_eq!((price("open"), price("close")), (prices[0], prices[prices.len() - 1]));
                assert_eq!(price("high"), prices.iter().copied().fold(f64::MIN, f64::max));
                assert_eq!(price("low"), prices.iter().copied().fold(f64::MAX, f64::min));
                assert_eq!((json["volume"].as_u64(), json["start"].as_u64()), (Some(volume), Some(minute)));
            }
        }
        assert!(candles > 100);
    }

    #[test]
    fn a_halted_symbol_resumes_before_anything_else() {
        let tape = tape(Events::new(all(), None, 9), 2_000);
        for pair in tape.windows(2) {
            if pair[0].1["status"] == "halted" {
                assert_eq!(pair[1].1["status"], "resumed");
            }
        }
    }
}
