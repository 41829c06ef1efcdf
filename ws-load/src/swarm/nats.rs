//! Reading nats-server's stream: its frames hold any number of operations, or parts of them, and may be of any length, so
//! they are taken apart as their bytes come.

use super::connection::Stage;
use super::{SCRATCH_BYTES, Swarm, words};
use crate::frames::{self, Header};
use crate::ledger::Holding;
use crate::nats::{Front, Op, PONG, front};

/// What of a connection's stream isn't complete.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Bytes of the present frame that are still to come.
    frame_left: u64,
    /// The beginning of an operation whose rest hasn't come.
    partial: Vec<u8>,
}

impl Swarm {
    /// Takes in what a connection has received; returns how much of it needn't be kept.
    pub(super) fn consume_stream(
        &mut self,
        at: usize,
        bytes: &[u8],
        now_ns: u64,
        is_measured: bool,
    ) -> Result<usize, String> {
        // Taken out, so that it can be read while the connection changes.
        let mut stream = std::mem::take(&mut self.streams[at]);
        let mut used = 0;
        while used < bytes.len() {
            if stream.frame_left == 0 {
                match frames::header(&bytes[used..]) {
                    Header::Partial => break,
                    Header::Bad(reason) => return Err(reason.to_owned()),
                    Header::Is { opcode: frames::TEXT | frames::BINARY, payload_len, len } => {
                        used += len;
                        stream.frame_left = payload_len;
                    }
                    Header::Is { opcode, payload_len, len } => {
                        let whole = len + usize::try_from(payload_len).unwrap_or(usize::MAX - len);
                        let Some(payload) = bytes.get(used + len..used + whole) else { break };
                        used += whole;
                        self.control(at, opcode, payload)?;
                    }
                }
                continue;
            }
            let take = (bytes.len() - used).min(usize::try_from(stream.frame_left).unwrap_or(usize::MAX));
            let piece = &bytes[used..used + take];
            used += take;
            stream.frame_left -= take as u64;
            if stream.partial.is_empty() {
                let read = self.operations(at, piece, now_ns, is_measured)?;
                stream.partial.extend_from_slice(&piece[read..]);
            } else {
                stream.partial.extend_from_slice(piece);
                let read = self.operations(at, &stream.partial, now_ns, is_measured)?;
                stream.partial.drain(..read);
            }
        }
        self.streams[at] = stream;
        Ok(used)
    }

    /// Does what whole operations say; returns how many bytes they were.
    fn operations(
        &mut self,
        at: usize,
        bytes: &[u8],
        now_ns: u64,
        is_measured: bool,
    ) -> Result<usize, String> {
        let mut used = 0;
        loop {
            match front(&bytes[used..], SCRATCH_BYTES / 2) {
                Front::Partial => return Ok(used),
                Front::Bad(reason) => return Err(reason.to_owned()),
                Front::Op(Op::Trade(trade), len) => {
                    used += len;
                    self.trade(at, trade, now_ns, is_measured);
                }
                Front::Op(op, len) => {
                    used += len;
                    self.operation(at, &op, now_ns)?;
                }
            }
        }
    }

    #[cold]
    fn operation(&mut self, at: usize, op: &Op<'_>, now_ns: u64) -> Result<(), String> {
        let stage = self.connections[at].stage;
        match op {
            Op::Ping => {
                let opcode = self.crowd.dialect.opcode();
                let sent = self.connections[at].send_frame(opcode, PONG.as_bytes());
                sent.map_err(|error| words(&error))?;
            }
            Op::Pong if stage == Stage::Subscribing => self.opened(at),
            Op::Pong => match self.books.ledger.churned(at) {
                Some((_, Holding::Joining)) => self.churned(at, Holding::On, now_ns),
                Some((_, Holding::Leaving)) => self.churned(at, Holding::Off, now_ns),
                _ => {}
            },
            Op::Err(why) if stage == Stage::Subscribing => {
                return Err(String::from_utf8_lossy(why).into_owned());
            }
            Op::Err(why) => self.books.complaints.add(&String::from_utf8_lossy(why), 1),
            Op::Strange => self.books.complaints.add("a message that can't be understood", 1),
            Op::Trade(_) | Op::Other => {}
        }
        Ok(())
    }
}
