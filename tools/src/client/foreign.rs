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
    /// Socket.IO over WebSocket, in the namespace `/events`.
    #[value(name = "socketio")]
    SocketIo,
}

/// Nobody is let in: with the close code that it would be elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// 1008 where trying again is no use, else 1013.
    pub code: u16,
    /// The gateway's words.
    pub reason: String,
}

impl Api {
    const fn path(self) -> &'static str {
        match self {
            Self::Alpaca => "/alpaca/v2/iex",
            Self::Massive => "/massive/stocks",
            Self::Binance => "/binance/stream",
            Self::Finnhub => "/finnhub",
            Self::SocketIo => "/socket.io/",
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
        parameters.extend((self == Self::SocketIo).then(|| "EIO=4&transport=websocket".to_owned()));
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

    /// What to say once connected: who one is, and to what one subscribes, unless [`Self::answers`] has that. Trades, if no types are named.
    ///
    /// # Errors
    /// If the API has no word for a type.
    pub fn requests(
        self,
        symbols: &[String],
        types: &[String],
        key: Option<&str>,
    ) -> anyhow::Result<Vec<String>> {
        if self == Self::SocketIo {
            let token = key.map_or_else(|| json!({}), |token| json!({"token": token}));
            return Ok(vec![format!("40/events,{token}")]);
        }
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
            Self::SocketIo => Vec::new(),
        };
        Ok(requests.iter().map(Value::to_string).collect())
    }

    /// What a message is answered with. Socket.IO has pings of its own, and wants no requests before it has let one in.
    pub fn answers(self, text: &str, symbols: &[String], types: &[String]) -> Vec<String> {
        match text {
            "2" if self == Self::SocketIo => vec!["3".to_owned()],
            text if self == Self::SocketIo && text.starts_with("40/events,") => {
                let mut terms = json!({"symbols": symbols});
                if !types.is_empty() {
                    terms["types"] = json!(types);
                }
                vec![format!("42/events,0{}", json!(["subscribe", terms]))]
            }
            _ => Vec::new(),
        }
    }

    /// Whether a message says that nobody is let in: with Socket.IO the connection stays, of no use to us.
    pub fn refused(self, text: &str) -> Option<Refused> {
        let refusal = text.strip_prefix("44/events,").filter(|_| self == Self::SocketIo)?;
        let refusal: Value = serde_json::from_str(refusal).unwrap_or_default();
        let is_full = refusal["data"]["code"] == "TOO_MANY_CONNECTIONS";
        let reason = refusal["message"].as_str().unwrap_or_default().to_owned();
        Some(Refused { code: if is_full { 1013 } else { 1008 }, reason })
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
        // A packet of Socket.IO has its type and namespace before the JSON.
        let text = if self == Self::SocketIo { text.strip_prefix("42/events,").unwrap_or("") } else { text };
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
            Self::SocketIo => {
                let name = message[0].as_str().unwrap_or_default();
                usize::from(!["connected", "status", "error"].contains(&name))
            }
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
        assert_eq!(
            Api::SocketIo.url(own, &terms, Some("k")),
            "ws://h:1/socket.io/?EIO=4&transport=websocket&snapshot=1&onSlow=skip"
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
    fn socket_io_is_asked_once_one_is_in() {
        let (api, symbols, types) = (Api::SocketIo, names(&["A"]), names(&["trade", "case"]));
        assert_eq!(api.requests(&symbols, &types, Some("k")).unwrap(), [r#"40/events,{"token":"k"}"#]);
        assert_eq!(api.requests(&symbols, &[], None).unwrap(), ["40/events,{}"]);
        let asked = r#"42/events,0["subscribe",{"symbols":["A"],"types":["trade","case"]}]"#;
        assert_eq!(api.answers(r#"40/events,{"sid":"x"}"#, &symbols, &types), [asked]);
        assert_eq!(api.answers("2", &symbols, &types), ["3"]);
        assert!(api.answers(r#"42/events,["connected",{}]"#, &symbols, &types).is_empty());
        assert!(Api::Finnhub.answers("2", &symbols, &types).is_empty());
        let refused = |code: &str| {
            let text = format!(r#"44/events,{{"message":"No","data":{{"code":"{code}"}}}}"#);
            api.refused(&text).map(|refused| (refused.code, refused.reason))
        };
        assert_eq!(refused("UNAUTHORIZED"), Some((1008, "No".to_owned())));
        assert_eq!(refused("TOO_MANY_CONNECTIONS"), Some((1013, "No".to_owned())));
        assert_eq!(api.refused("40/events,{}"), None);
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
            (Api::SocketIo, r#"42/events,["trade",{"type":"trade"}]"#, 1),
            (Api::SocketIo, r#"42/events,["status",{"type":"status"}]"#, 0),
            (Api::SocketIo, r#"43/events,0[{"status":"subscribed"}]"#, 0),
            (Api::SocketIo, "2", 0),
        ] {
            assert_eq!(api.events(text), events, "{text}");
        }
    }
}
