//! Messages that may be compressed.

use ws_gateway::websocket::{deflate, header};

use crate::dialect::{Reader, Said};
use crate::frames::{self, Header};

/// Reads messages that may be compressed, each as it would be read without.
#[derive(Debug, Default)]
pub struct Inflating<R> {
    inner: R,
    /// The frame of the message that is being read, inflated, and how far it has been read.
    plain: Vec<u8>,
    read: usize,
    /// The length of that frame as it came; 0 if there is none.
    len: usize,
}

/// In the first byte of a frame: it is compressed.
const RSV1: u8 = 0x40;
/// No message of the gateway becomes longer.
const INFLATED_BYTES_MAX: usize = 16 << 20;

impl<R> Inflating<R> {
    /// Inflates the frame at the front, if it is whole.
    fn inflate(&mut self, bytes: &[u8], len_max: usize) -> Result<(), String> {
        let mut plain_header = [0; 10];
        let beginning = &mut plain_header[..bytes.len().min(10)];
        beginning.copy_from_slice(&bytes[..beginning.len()]);
        beginning[0] &= !RSV1;
        let (payload_len, header_len) = match frames::header(beginning) {
            Header::Partial => return Ok(()),
            Header::Bad(reason) => return Err(reason.to_owned()),
            Header::Is { payload_len, len, .. } => (payload_len, len),
        };
        let len = payload_len.saturating_add(header_len as u64);
        if len > len_max as u64 {
            return Err("a frame longer than any event".to_owned());
        }
        if let Some(payload) = bytes.get(header_len..len as usize) {
            let mut content = Vec::new();
            deflate::inflate(payload, INFLATED_BYTES_MAX, &mut content).map_err(|error| error.to_string())?;
            self.plain = header::text(&content);
            // Binary messages stay binary.
            self.plain[0] = beginning[0];
            (self.read, self.len) = (0, len as usize);
        }
        Ok(())
    }
}

impl<R: Reader> Reader for Inflating<R> {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let is_compressed = bytes.first().is_some_and(|first| first & RSV1 != 0);
        if self.len == 0 && is_compressed && self.inner.is_at_frame() {
            self.inflate(bytes, len_max)?;
            if self.len == 0 {
                return Ok((0, Said::Nothing));
            }
        }
        if self.len == 0 {
            return self.inner.next(bytes, len_max);
        }
        let (used, said) = self.inner.next(&self.plain[self.read..], INFLATED_BYTES_MAX)?;
        self.read += used;
        let Said::Message(message) = said else {
            return Err("a compressed frame that is no message".to_owned());
        };
        // The frame counts as read once all of it is.
        let is_read = self.read == self.plain.len();
        let len = if is_read { std::mem::take(&mut self.len) } else { 0 };
        Ok((len, Said::Message(message)))
    }
}
