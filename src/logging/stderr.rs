//! Standard error, as the log's thread writes to it.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Standard error without the lock of `std::io::stderr`. While standard error isn't read, the log's thread blocks in
/// `write(2)`, and other threads that write to standard error must not wait for that.
#[derive(Debug, Default)]
pub(super) struct StandardError {
    /// Whether an error cut a line short. The next line then needs a line break before it.
    torn: bool,
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match rustix::io::write(&stderr, bytes) {
                // Another process has made the pipe that we share with it non-blocking.
                Err(Errno::AGAIN) => poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?,
                written => return Ok(written?),
            };
        }
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_whole(b"\n")?;
            self.torn = false;
        }
        self.write_whole(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StandardError {
    fn write_whole(&mut self, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn |= rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
