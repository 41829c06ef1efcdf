//! Several objects in one text message.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::dialect::{Reader, Said};
use crate::frames::{self, Front};
use crate::message::{self, Message};

/// The objects of an array.
pub trait Objects: Debug + Default {
    /// What separates two of them: no trade of ours has it.
    const NEXT: &'static [u8];

    /// Reads one.
    fn parse(object: &[u8]) -> Message;
}

/// The gateway's own.
#[derive(Debug, Default)]
pub struct Native;

impl Objects for Native {
    const NEXT: &'static [u8] = br#",{"type":""#;

    #[inline]
    fn parse(object: &[u8]) -> Message {
        message::parse(object)
    }
}

/// Objects in arrays, one after the other: a whole frame is at hand before the first of its objects is read.
#[derive(Debug, Default)]
pub struct Arrays<O> {
    /// Bytes of the array that are left, its end included.
    left: usize,
    objects: PhantomData<O>,
}

impl<O: Objects> Reader for Arrays<O> {
    fn is_at_frame(&self) -> bool {
        self.left == 0
    }

    #[inline]
    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        if self.left == 0 {
            match frames::front(bytes, len_max) {
                Front::Partial => return Ok((0, Said::Nothing)),
                Front::Bad(reason) => return Err(reason.to_owned()),
                Front::Frame { opcode: frames::TEXT, payload: payload @ [b'[', .., b']'], len } => {
                    used = len - payload.len() + 1;
                    self.left = payload.len() - 1;
                }
                Front::Frame { opcode: frames::TEXT | frames::BINARY, .. } => {
                    return Err("a message that is no array".to_owned());
                }
                Front::Frame { opcode, payload, len } => return Ok((len, Said::Control { opcode, payload })),
            }
        }
        // A comma or the closing bracket follows each object.
        let array = &bytes[used..used + self.left];
        let end = memchr::memmem::find(array, O::NEXT).unwrap_or(array.len() - 1);
        self.left -= end + 1;
        Ok((used + end + 1, Said::Message(O::parse(&array[..end]))))
    }
}
