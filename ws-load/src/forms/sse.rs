//! Events over HTTP.

use crate::dialect::{Reader, Said};
use crate::message;

/// Server-sent events.
#[derive(Debug, Default)]
pub struct Events;

impl Reader for Events {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let Some(end) = memchr::memmem::find(rest, b"\n\n") else {
                return match rest.len() {
                    len if len > len_max => Err("an event without an end".to_owned()),
                    // Comments before it needn't be kept.
                    _ => Ok((used, Said::Nothing)),
                };
            };
            used += end + 2;
            // Lines before the data say what is in it as well.
            let data = rest[..end].split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
            if let Some(data) = data {
                return Ok((used, Said::Message(message::parse(data))));
            }
        }
    }
}
