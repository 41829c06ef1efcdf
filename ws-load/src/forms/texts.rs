//! One text in each message.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::dialect::{Reader, Said};
use crate::frames::{self, Front};
use crate::message::Message;

/// What a text says.
pub trait Text: Debug + Default {
    /// Reads one.
    fn parse(text: &[u8]) -> Message;
}

/// Reads a text from each message.
#[derive(Debug, Default)]
pub struct Texts<T>(PhantomData<T>);

impl<T: Text> Reader for Texts<T> {
    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        Ok(match frames::front(bytes, len_max) {
            Front::Partial => (0, Said::Nothing),
            Front::Bad(reason) => return Err(reason.to_owned()),
            Front::Frame { opcode: frames::TEXT, payload, len } => (len, Said::Message(T::parse(payload))),
            Front::Frame { opcode: frames::BINARY, .. } => return Err("a binary message".to_owned()),
            Front::Frame { opcode, payload, len } => (len, Said::Control { opcode, payload }),
        })
    }
}
