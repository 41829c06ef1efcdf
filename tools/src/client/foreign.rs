//! The gateway in the words of another API (its `DIALECTS`): where to connect, what to say, and which messages have events. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::wanted::Terms;

/// An API whose clients the gateway serves as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// Alpaca's stream, in JSON.
    Alpaca,
    /// Massive's (Polygon's) stream of stocks.
    Massive,
    /// Binance's streams, combined.
    Binance,
    /// Finnhub's trades.
    Finnhub,
}

impl Api {
    const fn path(self) -> &'static str {
        match self {
            Self::Alpaca => "/alpaca/v2/iex",
            Self::Massive => "/massive/stocks",
            Self::Binance => "/binance/stream",
            Self::Finnhub => "/finnhub",
        }
    }

    /// Where to connect: the API's path where the address has the gateway's own, with the terms, and with the key where the API has no other
    /// way for it.
    pub fn url(self, url: &str, terms: &Terms, key: Option<&str>) -> String {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let scheme = base.find("://").map_or(0, |at| at + 3);
        let host = base[scheme..].find('/').map_or(base.len(), |at| scheme + at);
        let path = match &base[host..] {
            "" | "/" | "/ws" | "/ws/" => self.path(),
            other => other,
        };
        let mut parameters: Vec<String> = Vec::new();
        parameters.extend((!query.is_empty()).then(|| query.to_owned()));
        parameters.extend(terms.snapshot.then(|| "snapshot=1".to_owned()));
        parameters.extend(terms.conflate.as_ref().map(|_| "conflate=1".to_owned()));
        parameters.extend(terms.max_rate.as_ref().map(|rate| format!("maxRate={rate}")));
        parameters.extend(terms.on_slow.as_ref().map(|policy| format!("onSlow={policy}")));
        let in_url = key.filter(|_| matches!(self, Self::Binance | Self::Finnhub));
        parameters.extend(in_url.map(|key| format!("token={key}")));
        let mut whole = format!("{}{path}", &base[..host]);
        for (at, parameter) in parameters.iter().enumerate() {
            // Writing into a string can't fail.
            let _ = write!(whole, "{}{parameter}", if at == 0 { '?' } else { '&' });
        }
        whole
    }

    /// What to say once connected: who one is, and to what one subscribes. Trades, if no types are named.
    ///
    /// # Errors
    /// If the API has no word for a type.
    pub fn requests(
        self,
        symbols: &[String],
        types: &[String],
        key: Option<&str>,
    ) -> anyhow::Result<Vec<String>> {
        let types = if types.is_empty() { vec!["trade"] } else { types.iter().map(String::as_str).collect() };
        let mut words = Vec::new();
        for type_name in types {
            let word = self.word(type_name);
            words.push(
                word.ok_or_else(|| {
                    anyhow::anyhow!("--dialect {self:?} has no word for --types {type_name}")
                })?,
            );
        }
        let all = |write: &dyn Fn(&str, &str) -> String| -> Vec<String> {
            let symbols =
                |word: &&'static str| symbols.iter().map(|symbol| write(symbol, word)).collect::<Vec<_>>();
            words.iter().flat_map(symbols).collect()
        };
        let key = key.unwrap_or("key");
        let requests = match self {
            Self::Alpaca => {
                let mut subscribe = json!({"action": "subscribe"});
                for word in &words {
                    subscribe[*word] = json!(symbols);
                }
                vec![json!({"action": "auth", "key": key, "secret": ""}), subscribe]
            }
            Self::Massive => {
                let channels = all(&|symbol, word| format!("{word}.{symbol}")).join(",");
                vec![
                    json!({"action": "auth", "params": key}),
                    json!({"action": "subscribe", "params": channels}),
                ]
            }
            Self::Binance => {
                let streams = all(&|symbol, word| format!("{}@{word}", symbol.to_lowercase()));
                vec![json!({"method": "SUBSCRIBE", "params": streams, "id": 1})]
            }
            Self::Finnhub => {
                symbols.iter().map(|symbol| json!({"type": "subscribe", "symbol": symbol})).collect()
            }
        };
        Ok(requests.iter().map(Value::to_string).collect())
    }

    /// The API's word for a type of events.
    fn word(self, type_name: &str) -> Option<&'static str> {
        Some(match (self, type_name) {
            (Self::Alpaca, "trade") => "trades",
            (Self::Alpaca, "quote") => "quotes",
            (Self::Alpaca, "candle") => "bars",
            (Self::Alpaca, "halt") => "statuses",
            (Self::Alpaca, "news") => "news",
            (Self::Massive, "trade") => "T",
            (Self::Massive, "quote") => "Q",
            (Self::Massive, "candle") => "AM",
            (Self::Binance | Self::Finnhub, "trade") => "trade",
            (Self::Binance, "quote") => "bookTicker",
            (Self::Binance, "candle") => "kline_1m",
            _ => return None,
        })
    }

    /// How many events a message has.
    pub fn events(self, text: &str) -> u64 {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return 0 };
        let none = Vec::new();
        let count = match self {
            // A type of one letter is of the market: those of the gateway's own are words.
            Self::Alpaca => {
                let objects = message.as_array().unwrap_or(&none).iter();
                objects.filter(|object| object["T"].as_str().is_some_and(|word| word.len() == 1)).count()
            }
            Self::Massive => {
                let objects = message.as_array().unwrap_or(&none).iter();
                objects.filter(|object| object["ev"].is_string() && object["ev"] != "status").count()
            }
            Self::Binance => {
                usize::from(message["stream"].as_str().is_some_and(|name| !name.starts_with('!')))
            }
            Self::Finnhub if message["type"] == "trade" => message["data"].as_array().map_or(0, Vec::len),
            Self::Finnhub => 0,
        };
        count as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_address_has_the_api_s_path_the_terms_and_the_key() {
        let terms = Terms { snapshot: true, on_slow: Some("skip".to_owned()), ..Terms::default() };
        let own = "ws://h:1/ws";
        assert_eq!(Api::Alpaca.url(own, &Terms::default(), Some("k")), "ws://h:1/alpaca/v2/iex");
        assert_eq!(
            Api::Binance.url(own, &terms, Some("k")),
            "ws://h:1/binance/stream?snapshot=1&onSlow=skip&token=k"
        );
        assert_eq!(Api::Finnhub.url("wss://h", &Terms::default(), None), "wss://h/finnhub");
        assert_eq!(
            Api::Massive.url("ws://h/crypto?x=1", &terms, None),
            "ws://h/crypto?x=1&snapshot=1&onSlow=skip"
        );
    }

    #[test]
    fn each_api_is_asked_in_its_words() {
        let (symbols, types) = (names(&["BTCUSDT"]), names(&["trade", "candle"]));
        let asked = |api: Api| api.requests(&symbols, &types, Some("k")).unwrap();
        assert_eq!(
            asked(Api::Alpaca),
            [
                r#"{"action":"auth","key":"k","secret":""}"#,
                r#"{"action":"subscribe","bars":["BTCUSDT"],"trades":["BTCUSDT"]}"#
            ]
        );
        assert_eq!(asked(Api::Massive)[1], r#"{"action":"subscribe","params":"T.BTCUSDT,AM.BTCUSDT"}"#);
        assert_eq!(
            asked(Api::Binance),
            [r#"{"id":1,"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@kline_1m"]}"#]
        );
        assert_eq!(
            Api::Finnhub.requests(&symbols, &[], None).unwrap(),
            [r#"{"symbol":"BTCUSDT","type":"subscribe"}"#]
        );
        assert!(Api::Finnhub.requests(&symbols, &types, None).is_err());
    }

    #[test]
    fn events_are_told_from_all_else() {
        for (api, text, events) in [
            (Api::Alpaca, r#"[{"T":"t","S":"A"},{"T":"q"}]"#, 2),
            (Api::Alpaca, r#"[{"T":"skipped","n":3}]"#, 0),
            (Api::Massive, r#"[{"ev":"T"},{"ev":"status","message":"x"}]"#, 1),
            (Api::Binance, r#"{"stream":"a@trade","data":{}}"#, 1),
            (Api::Binance, r#"{"stream":"!gateway","data":{}}"#, 0),
            (Api::Binance, r#"{"result":null,"id":1}"#, 0),
            (Api::Finnhub, r#"{"data":[{},{}],"type":"trade"}"#, 2),
            (Api::Finnhub, r#"{"type":"error","msg":"x"}"#, 0),
            (Api::Finnhub, "x", 0),
        ] {
            assert_eq!(api.events(text), events, "{text}");
        }
    }
}
