//! Close codes, and writing control frames: close, ping, pong.

/// The close codes that the gateway sends (RFC 6455 section 7.4.1), and how a client should react to each. The shard sends them with
/// `Shard::close`; both clients (`clients/`) and `tools/src/client/reconnect.rs` have this table too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The answer to the client's close: the client's own code, or 1000 if it sent none. Reconnecting is up to the client.
    Echo(u16),
    /// 1001: the peer did not answer pings. Reconnect with back-off.
    GoingAway,
    /// 1002: the input is not WebSocket. Reconnecting unchanged is useless.
    Protocol,
    /// 1007: text that is not UTF-8. Reconnecting unchanged is useless.
    InvalidData,
    /// 1008: the client broke a rule again and again. Reconnecting unchanged is useless.
    Policy,
    /// 1009: a message longer than `MAX_MESSAGE_SIZE`. Reconnecting unchanged is useless.
    TooLarge,
    /// 1012: the gateway restarts or drains. The status before it says when to reconnect.
    ServiceRestart,
    /// 1013: the client is too slow, or the gateway is overloaded; for Massive's clients also that they did not answer pings. Reconnect
    /// with back-off.
    TryAgainLater,
}

impl CloseCode {
    /// The answer to a client's close with this code. The reader has checked that the code may be sent.
    pub fn echo(code: Option<u16>) -> Self {
        Self::Echo(code.unwrap_or(1000))
    }

    /// The code on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Echo(code) => code,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::InvalidData => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::ServiceRestart => 1012,
            Self::TryAgainLater => 1013,
        }
    }
}

const FIN: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const PAYLOAD_BYTES_MAX: usize = 125;

/// A close frame. A reason that doesn't fit is cut short.
pub fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(PAYLOAD_BYTES_MAX - 2)];
    let mut payload = code.number().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    control_frame(CLOSE, &payload)
}

/// A ping without payload.
pub fn ping_frame() -> Vec<u8> {
    control_frame(PING, &[])
}

/// A ping that its pong names.
pub fn ping_with(payload: &[u8]) -> Vec<u8> {
    control_frame(PING, payload)
}

/// The pong that answers a ping with this payload.
pub fn pong_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(PONG, payload)
}

fn control_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
    let mut frame = vec![FIN | opcode, payload.len() as u8];
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_fit_their_limit() {
        assert_eq!(close_frame(CloseCode::echo(None), "bye"), b"\x88\x05\x03\xe8bye");
        assert_eq!(close_frame(CloseCode::TooLarge, &"ä".repeat(100)).len(), 2 + 2 + 122);
        assert_eq!(ping_frame(), [0x89, 0]);
        assert_eq!(pong_frame(b"x"), [0x8a, 1, b'x']);
    }
}
