//! Random names as lower-case hexadecimal digits. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A random name of this many bytes, written as twice as many hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HexId<const BYTES: usize>([u8; BYTES]);

/// One run of a gateway.
pub type GatewayId = HexId<16>;

/// By what others know a connection. It opens nothing.
pub type PublicId = HexId<10>;

impl<const BYTES: usize> HexId<BYTES> {
    /// One that no other has, and that nobody can guess: responses of workers come by the number of the gateway's run.
    pub fn random() -> Self {
        let mut bytes = [0; BYTES];
        // It fails only where the system has no randomness, and then no TLS works either.
        if aws_lc_rs::rand::fill(&mut bytes).is_err() {
            tracing::error!("the system has no random numbers: names of connections can be guessed");
            fastrand::fill(&mut bytes);
        }
        Self(bytes)
    }
}

impl GatewayId {
    /// One of a test.
    pub const fn of(number: u128) -> Self {
        Self(number.to_be_bytes())
    }
}

impl PublicId {
    /// One of a test.
    pub const fn of(byte: u8) -> Self {
        Self([byte; 10])
    }
}

impl<const BYTES: usize> fmt::Display for HexId<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const BYTES: usize> fmt::Debug for HexId<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const BYTES: usize> FromStr for HexId<BYTES> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut id = Self([0; BYTES]);
        for (place, byte) in id.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| ())?;
        }
        Ok(id)
    }
}

impl<const BYTES: usize> Serialize for HexId<BYTES> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const BYTES: usize> Deserialize<'de> for HexId<BYTES> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("no random name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for _ in 0..100 {
            let id = PublicId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(PublicId::of(0xa5).to_string(), "a5a5a5a5a5a5a5a5a5a5");
        for none in
            ["", "a5a5a5a5a5a5a5a5a5a", "a5a5a5a5a5a5a5a5a5a5a", "+5a5a5a5a5a5a5a5a5a5", "ä5a5a5a5a5a5a5a5a5"]
        {
            assert_eq!(none.parse::<PublicId>(), Err(()), "{none}");
        }
    }
}
