//! The APIs whose clients the gateway serves as well: they change a URL, and nothing else. Pure.

use std::fmt;
use std::str::FromStr;

/// An API with a protocol of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Alpaca's market data stream.
    Alpaca,
    /// Massive's, formerly Polygon's.
    Massive,
    /// Finnhub's.
    Finnhub,
    /// Binance's market streams.
    Binance,
    /// Socket.IO.
    SocketIo,
}

/// A set of APIs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apis(u8);

impl Api {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Alpaca, Self::Massive, Self::Finnhub, Self::Binance, Self::SocketIo];

    /// As `DIALECTS` names it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::Massive => "massive",
            Self::Finnhub => "finnhub",
            Self::Binance => "binance",
            Self::SocketIo => "socketio",
        }
    }
}

impl Apis {
    /// Whether the set has an API.
    pub const fn has(self, api: Api) -> bool {
        self.0 & (1 << api as u8) != 0
    }
}

impl FromIterator<Api> for Apis {
    fn from_iter<I: IntoIterator<Item = Api>>(apis: I) -> Self {
        Self(apis.into_iter().fold(0, |set, api| set | 1 << api as u8))
    }
}

impl FromStr for Apis {
    type Err = ();

    /// As `DIALECTS` has them: words with commas between them, or `none`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "none" {
            return Ok(Self::default());
        }
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| Api::ALL.into_iter().find(|api| api.word() == word).ok_or(())).collect()
    }
}

impl fmt::Display for Apis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = Api::ALL.into_iter().filter(|api| self.has(*api)).map(Api::word).collect();
        f.write_str(if words.is_empty() { "none".to_owned() } else { words.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_as_it_is_configured() {
        let all: Apis = Api::ALL.into_iter().collect();
        assert_eq!(all.to_string().parse(), Ok(all));
        assert_eq!("none".parse(), Ok(Apis::default()));
        assert_eq!(Apis::default().to_string(), "none");
        assert_eq!(" alpaca, alpaca,".parse(), Ok([Api::Alpaca].into_iter().collect::<Apis>()));
        assert!("alpaca".parse::<Apis>().unwrap().has(Api::Alpaca) && !Apis::default().has(Api::Alpaca));
        for bad in ["Alpaca", "alpaca;x", "none,alpaca", "polygon"] {
            assert_eq!(bad.parse::<Apis>(), Err(()), "{bad}");
        }
    }
}
