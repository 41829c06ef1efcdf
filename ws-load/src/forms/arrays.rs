//! Several objects in one text message.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::dialect::{Reader, Said};
use crate::frames::{self, Front};
use crate::message::{self, Message};

/// The objects of an array.
pub trait Objects: Debug + Default {
    /// What stands before the first of them.
    const OPENING: &'static [u8] = b"[";
    /// A comma, and how each begins that is not the first: no trade of ours has that in it.
    const NEXT: &'static [u8];
    /// What stands behind the last of them.
    const CLOSING: &'static [u8] = b"]";
    /// What a pong says.
    const PONG: Option<Message> = None;

    /// Reads one.
    fn parse(object: &[u8]) -> Message;

    /// Reads a message that is no array; `None` where there may be none.
    fn parse_single(_message: &[u8]) -> Option<Message> {
        None
    }
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
                Front::Frame { opcode: frames::TEXT, payload, len } if is_array::<O>(payload) => {
                    used = len - payload.len() + O::OPENING.len();
                    self.left = payload.len() - O::OPENING.len();
                }
                Front::Frame { opcode: frames::TEXT | frames::BINARY, payload, len } => {
                    let single = O::parse_single(payload).ok_or("a message that is no array")?;
                    return Ok((len, Said::Message(single)));
                }
                Front::Frame { opcode, payload, len } => {
                    let pong = O::PONG.filter(|_| opcode == frames::PONG);
                    return Ok((len, pong.map_or(Said::Control { opcode, payload }, Said::Message)));
                }
            }
        }
        let array = &bytes[used..used + self.left];
        // A comma follows each object, or the array's end.
        let (end, len) = match memchr::memmem::find(array, O::NEXT) {
            Some(comma) => (comma, comma + 1),
            None => (array.len() - O::CLOSING.len(), array.len()),
        };
        self.left -= len;
        Ok((used + len, Said::Message(O::parse(&array[..end]))))
    }
}

fn is_array<O: Objects>(payload: &[u8]) -> bool {
    payload.strip_prefix(O::OPENING).is_some_and(|rest| rest.ends_with(O::CLOSING))
}
