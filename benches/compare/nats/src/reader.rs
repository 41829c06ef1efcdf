//! Reading nats-server's stream: its frames hold any number of operations, or parts of them, and may be of any length, so
//! they are taken apart as their bytes come.

use ws_load::dialect::{Reader, Said};
use ws_load::frames::{self, Header};
use ws_load::message::Message;

use crate::protocol::{Front, Op, PONG, front};

/// What of a connection's stream isn't complete.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Bytes of the present frame that are still to come.
    frame_left: u64,
    /// The beginning of an operation whose rest hasn't come, and what came with the rest.
    partial: Vec<u8>,
    /// How much of that has been read.
    read: usize,
}

impl Reader for Stream {
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        loop {
            if self.read < self.partial.len() {
                match front(&self.partial[self.read..], len_max) {
                    Front::Op(op, len) => {
                        let said = said(&op);
                        self.read += len;
                        return Ok((used, said));
                    }
                    Front::Bad(reason) => return Err(reason.to_owned()),
                    Front::Partial => {}
                }
            }
            self.partial.drain(..std::mem::take(&mut self.read));
            let rest = &bytes[used..];
            if self.frame_left == 0 {
                match frames::header(rest) {
                    Header::Partial => return Ok((used, Said::Nothing)),
                    Header::Bad(reason) => return Err(reason.to_owned()),
                    Header::Is { opcode: frames::TEXT | frames::BINARY, payload_len, len } => {
                        used += len;
                        self.frame_left = payload_len;
                    }
                    Header::Is { opcode, payload_len, len } => {
                        let whole = len + usize::try_from(payload_len).unwrap_or(usize::MAX - len);
                        let Some(payload) = rest.get(len..whole) else { return Ok((used, Said::Nothing)) };
                        return Ok((used + whole, Said::Control { opcode, payload }));
                    }
                }
                continue;
            }
            let left = usize::try_from(self.frame_left).unwrap_or(usize::MAX);
            let piece = &rest[..rest.len().min(left)];
            if piece.is_empty() {
                return Ok((used, Said::Nothing));
            }
            let taken = match front(piece, len_max) {
                Front::Op(op, len) if self.partial.is_empty() => {
                    self.frame_left -= len as u64;
                    return Ok((used + len, said(&op)));
                }
                Front::Bad(reason) if self.partial.is_empty() => return Err(reason.to_owned()),
                _ => piece.len(),
            };
            self.partial.extend_from_slice(piece);
            self.frame_left -= taken as u64;
            used += taken;
        }
    }
}

fn said<'b>(op: &Op<'_>) -> Said<'b> {
    Said::Message(match op {
        Op::Trade(trade) => Message::Trade(*trade),
        Op::Strange => Message::Unreadable,
        Op::Ping => Message::Question(PONG),
        Op::Pong => Message::Done,
        Op::Err(why) => Message::Refused(String::from_utf8_lossy(why).into_owned()),
        Op::Other => Message::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a stream says, however its bytes are cut: `keep` is what one read brings.
    fn all(bytes: &[u8], keep: usize) -> Vec<Message> {
        let (mut stream, mut kept, mut said) = (Stream::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(keep) {
            kept.extend_from_slice(piece);
            let mut used = 0;
            loop {
                let (len, what) = stream.next(&kept[used..], 10_000).unwrap();
                used += len;
                match what {
                    Said::Nothing => break,
                    Said::Message(message) => said.push(message),
                    Said::Control { opcode, .. } => assert_eq!(opcode, frames::PING),
                }
            }
            kept.drain(..used);
        }
        said
    }

    #[test]
    fn operations_are_read_however_frames_and_reads_cut_them() {
        let trade = r#"{"symbol":"S0042","seq":7,"sent":5,"price":1}"#;
        let text = format!("INFO {{}}\r\nMSG trade.S0042 42 {}\r\n{trade}\r\nPING\r\nPONG\r\n", trade.len());
        let expected = all(&framed(text.as_bytes(), text.len()), 10_000);
        assert_eq!(expected.len(), 4);
        assert!(matches!(expected[1], Message::Trade(trade) if trade.seq == 7), "{expected:?}");
        for frame in 1..text.len() {
            for keep in [1, 2, 7, 10_000] {
                assert_eq!(all(&framed(text.as_bytes(), frame), keep), expected, "{frame} {keep}");
            }
        }
    }

    /// In frames of so many bytes, with a WebSocket ping between them.
    fn framed(bytes: &[u8], len: usize) -> Vec<u8> {
        let frame = |piece: &[u8]| [&[0x82, piece.len() as u8], piece, &[0x89, 0]].concat();
        bytes.chunks(len.min(125)).flat_map(frame).collect()
    }
}
