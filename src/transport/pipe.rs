//! A connection in memory, for tests that drive a shard step by step. The test decides how many bytes it takes.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The shard's end.
#[derive(Debug)]
pub(crate) struct End(Arc<Mutex<State>>);

/// The client's end.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// From the client.
    input: Vec<u8>,
    input_closed: bool,
    /// To the client.
    output: Vec<u8>,
    output_closed: bool,
    /// How many more bytes the shard may write before the pipe is full.
    room_bytes: usize,
    /// Whether the shard has dropped its end.
    gone: bool,
}

/// A pipe that takes `room_bytes` from the shard before it is full.
pub(crate) fn pipe(room_bytes: usize) -> (End, Client) {
    let state = Arc::new(Mutex::new(State { room_bytes, ..State::default() }));
    (End(Arc::clone(&state)), Client(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl End {
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.0);
        if state.input.is_empty() {
            return if state.input_closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = state.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&state.input[..count]);
        state.input.drain(..count);
        Ok(count)
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = lock(&self.0);
        let count = bytes.len().min(state.room_bytes);
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.room_bytes -= count;
        state.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        lock(&self.0).output_closed = true;
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.0).gone = true;
    }
}

impl Client {
    /// Sends bytes to the shard, which has to be told that its end is readable.
    pub(crate) fn send(&self, bytes: &[u8]) {
        lock(&self.0).input.extend_from_slice(bytes);
    }

    /// Takes what the shard has written.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0).output)
    }

    /// Lets the shard write `room_bytes` more.
    pub(crate) fn make_room(&self, room_bytes: usize) {
        lock(&self.0).room_bytes += room_bytes;
    }

    /// Whether the shard has said that it writes nothing more.
    pub(crate) fn is_output_closed(&self) -> bool {
        lock(&self.0).output_closed
    }

    /// Whether the shard has dropped the connection.
    pub(crate) fn is_gone(&self) -> bool {
        lock(&self.0).gone
    }
}
