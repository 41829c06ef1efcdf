//! Packets of Socket.IO, protocol version 5. Pure.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<acknowledgement>][<JSON>]          2/events,7["subscribe",{"symbols":["AAPL"]}]
//! ```
//!
//! The namespace of a packet without one is `/`.

use serde_json::value::RawValue;

/// The most binary attachments that a packet may announce.
pub const ATTACHMENTS_MAX: u32 = 10;

/// Names of events that mean something to the libraries themselves, so no packet may have them.
pub const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Beyond it JavaScript has not every number.
const ACK_END: u64 = 1 << 53;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0`: joins a namespace, or says that it is joined.
    Connect,
    /// `1`: leaves it.
    Disconnect,
    /// `2`: an event.
    Event,
    /// `3`: acknowledges one.
    Ack,
    /// `4`: a namespace can't be joined.
    ConnectError,
    /// `5`: an event with binary attachments, which follow.
    BinaryEvent,
    /// `6`: the same of an acknowledgement.
    BinaryAck,
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'p> {
    /// What it is.
    pub kind: Kind,
    /// How many binary messages follow that belong to it.
    pub attachments: u32,
    /// The namespace, with its slash.
    pub namespace: &'p str,
    /// The number under which it is to be acknowledged, or is.
    pub ack: Option<u64>,
    /// The JSON, as it stands; of the form that its kind has.
    pub data: Option<&'p str>,
}

/// Why a text is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It begins with none of the digits.
    Kind,
    /// Of one with attachments: not their number, or too many.
    Attachments,
    /// The number for the acknowledgement is none of JavaScript's.
    Ack,
    /// The JSON is none, or not what the kind has.
    Data,
    /// An event has a name that is reserved.
    Reserved,
}

impl Fault {
    /// In words, for a close frame.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kind => "no packet of Socket.IO",
            Self::Attachments => "a packet with a wrong number of attachments",
            Self::Ack => "a packet with a wrong number for its acknowledgement",
            Self::Data => "a packet with wrong data",
            Self::Reserved => "an event with a reserved name",
        }
    }
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Connect,
        Self::Disconnect,
        Self::Event,
        Self::Ack,
        Self::ConnectError,
        Self::BinaryEvent,
        Self::BinaryAck,
    ];

    /// Whether binary messages follow.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

impl<'p> Packet<'p> {
    /// Reads a packet.
    ///
    /// # Errors
    /// The first [`Fault`] of it.
    pub fn read(text: &'p str) -> Result<Self, Fault> {
        let digit = text.bytes().next().and_then(|first| first.checked_sub(b'0'));
        let kind = digit.and_then(|digit| Kind::ALL.get(usize::from(digit))).ok_or(Fault::Kind)?;
        let mut rest = &text[1..];
        let mut attachments = 0;
        if kind.is_binary() {
            let (count, behind) = rest.split_once('-').ok_or(Fault::Attachments)?;
            attachments =
                number(count).filter(|count| *count <= ATTACHMENTS_MAX.into()).ok_or(Fault::Attachments)?;
            rest = behind;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, data) = rest.split_at(digits);
        let ack = match count {
            "" => None,
            digits => Some(number(digits).ok_or(Fault::Ack)?),
        };
        let data = (!data.is_empty()).then_some(data);
        check(*kind, data)?;
        Ok(Self { kind: *kind, attachments: attachments as u32, namespace, ack, data })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'0' + self.kind as u8);
        if self.kind.is_binary() {
            out.extend_from_slice(itoa::Buffer::new().format(self.attachments).as_bytes());
            out.push(b'-');
        }
        if self.namespace != "/" {
            out.extend_from_slice(self.namespace.as_bytes());
            out.push(b',');
        }
        if let Some(ack) = self.ack {
            out.extend_from_slice(itoa::Buffer::new().format(ack).as_bytes());
        }
        out.extend_from_slice(self.data.unwrap_or_default().as_bytes());
    }

    /// The elements of the data of an event or acknowledgement: of an event its name, and what was sent with it.
    pub fn elements(&self) -> Vec<&'p RawValue> {
        self.data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default()
    }
}

/// A number without a sign, of those that JavaScript has.
fn number(digits: &str) -> Option<u64> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_plain && *number < ACK_END)
}

/// Whether the data is what such a packet has.
fn check(kind: Kind, data: Option<&str>) -> Result<(), Fault> {
    let Some(data) = data else {
        return match kind {
            Kind::Connect | Kind::Disconnect => Ok(()),
            _ => Err(Fault::Data),
        };
    };
    let value: &RawValue = serde_json::from_str(data).map_err(|_| Fault::Data)?;
    let is_of = |first: u8| value.get().as_bytes().first() == Some(&first);
    match kind {
        Kind::Connect if is_of(b'{') => Ok(()),
        Kind::ConnectError if is_of(b'{') || is_of(b'"') => Ok(()),
        Kind::Ack | Kind::BinaryAck if is_of(b'[') => Ok(()),
        Kind::Event | Kind::BinaryEvent if is_of(b'[') => check_event(value.get()),
        _ => Err(Fault::Data),
    }
}

/// An event's first element is its name, or a number.
fn check_event(array: &str) -> Result<(), Fault> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(|_| Fault::Data)?;
    let first = elements.first().ok_or(Fault::Data)?.get();
    if first.starts_with('"') {
        let name: String = serde_json::from_str(first).map_err(|_| Fault::Data)?;
        return if RESERVED.contains(&name.as_str()) { Err(Fault::Reserved) } else { Ok(()) };
    }
    let is_number = first.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number { Ok(()) } else { Err(Fault::Data) }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
