//! What the programs of vendors' clients say of trades in their lines, each in its API's words.

use serde_json::Value;

use super::program::Program;

/// Where a line has the price of a trade: Alpaca's, Binance's, Massive's, Socket.IO's and Finnhub's clients.
const PRICES: [&str; 7] = [
    "/TRADE/price",
    "/TRADES/Price",
    "/event/p",
    "/event/data/p",
    "/event/price",
    "/values/0/data/price",
    "/message/data/0/p",
];

/// What a client was sent, as one of its lines says it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// The prices of trades, which are whole numbers.
    pub(crate) prices: Vec<u64>,
    /// How many events it was told that it had missed.
    pub(crate) missed: u64,
}

impl Heard {
    pub(crate) fn of(line: &Value) -> Self {
        let mut heard = Self::default();
        heard.prices.extend(PRICES.iter().find_map(|place| whole(line.pointer(place)?)));
        // ccxt's calls return several trades, and a message of Massive's has several objects.
        let several = line["event"].as_array().into_iter().chain(line.as_array()).flatten();
        for each in several {
            heard.prices.extend(["price", "p"].iter().find_map(|name| whole(each.get(name)?)));
            heard.missed += in_words(each["message"].as_str().unwrap_or_default());
        }
        heard.missed += in_words(line["log"].as_str().unwrap_or_default());
        let data = line.pointer("/event/data").unwrap_or_else(|| &line["event"]);
        heard.missed += counted(data, "e") + counted(&line["values"][0], "event");
        let message = line["message"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        heard.missed += message.map_or(0, |message| counted(&message["data"], "e"));
        heard
    }

    /// The price of the next trade.
    pub(crate) async fn price(client: &mut Program) -> u64 {
        loop {
            if let [price] = Self::of(&client.json().await).prices[..] {
                return price;
            }
        }
    }
}

/// A number, or a text that is one.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Some(number as u64)
}

/// The count of a status, if it is `skipped`, as its field `name` says.
fn counted(status: &Value, name: &str) -> u64 {
    let is_skipped = status.get(name).is_some_and(|event| event == "skipped");
    let count = || status.get("count").or_else(|| status.pointer("/data/count"))?.as_u64();
    if is_skipped { count().expect("a count") } else { 0 }
}

/// The count in a text: Massive's `status: 17 events of T.A were skipped`, and what binance-sdk-spot logs of a status of Binance's.
fn in_words(text: &str) -> u64 {
    let words = text.strip_prefix("status: ").unwrap_or(text);
    if words.contains(" were skipped") {
        return words.split(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    }
    let count = text.contains("'e': 'skipped'").then(|| text.split("'count': ").nth(1)).flatten();
    count.map_or(0, |count| {
        count.split(['}', ',']).next().and_then(|count| count.parse().ok()).expect("a count")
    })
}
