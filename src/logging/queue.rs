//! The queue of log lines between the threads that log and the thread that writes.
//!
//! The lock is held while a line is put in or taken out, never while one is written.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::LOG_QUEUE_BYTES;

/// At most [`LOG_QUEUE_BYTES`] of lines, and the number of lost ones: those without room and those that could not be written.
#[derive(Debug)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// Notified when a line is put in, and when one has been written or lost.
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Pending {
    lines: VecDeque<Box<[u8]>>,
    /// The bytes of `lines`.
    bytes: usize,
    /// Whether a line that was taken out is being written.
    writing: bool,
}

impl Queue {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        let pending = Pending { lines: VecDeque::new(), bytes: 0, writing: false };
        Self { pending: Mutex::new(pending), changed: Condvar::new(), lost: AtomicU64::new(0) }
    }

    /// Queues a line. It is lost if there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut pending = self.lock();
        if pending.bytes + line.len() > LOG_QUEUE_BYTES {
            drop(pending);
            self.lose();
            return;
        }
        pending.bytes += line.len();
        pending.lines.push_back(line.into());
        drop(pending);
        self.changed.notify_all();
    }

    /// How many lines have been lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written or lost, at most for `timeout`.
    pub(super) fn wait_until_written(&self, timeout: Duration) {
        let unfinished = |pending: &mut Pending| pending.writing || !pending.lines.is_empty();
        let _ = self.changed.wait_timeout_while(self.lock(), timeout, unfinished);
    }

    /// Writes lines to `sink` for ever. When some were lost and the queue is empty again, calls `report_lost` with the number
    /// of lines lost since its last call.
    pub(super) fn write_lines(&self, mut sink: impl Write, report_lost: impl Fn(u64)) {
        let mut reported = 0;
        loop {
            let line = self.take();
            let written = sink.write_all(&line).and_then(|()| sink.flush());
            if written.is_err() {
                self.lose();
            }
            let caught_up = self.finish_line();
            let lost = self.lost();
            if written.is_ok() && caught_up && lost > reported {
                report_lost(lost - reported);
                reported = lost;
            }
        }
    }

    /// Waits for the next line and takes it.
    fn take(&self) -> Box<[u8]> {
        let mut pending = self.lock();
        loop {
            if let Some(line) = pending.lines.pop_front() {
                pending.bytes -= line.len();
                pending.writing = true;
                return line;
            }
            pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that the line taken is written or lost. Returns whether the queue is empty.
    fn finish_line(&self) -> bool {
        let mut pending = self.lock();
        pending.writing = false;
        let caught_up = pending.lines.is_empty();
        drop(pending);
        self.changed.notify_all();
        caught_up
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing panics under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    /// A sink that takes one line for each permission, and passes it on to the test.
    struct Gate {
        permissions: mpsc::Receiver<io::Result<()>>,
        written: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Once the test is over, the thread stays here.
            self.permissions.recv().unwrap_or_else(|_| {
                loop {
                    std::thread::park();
                }
            })?;
            let _ = self.written.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        queue: &'static Queue,
        permit: mpsc::Sender<io::Result<()>>,
        written: mpsc::Receiver<String>,
    }

    /// A queue whose thread writes only the lines that the test permits, and logs the number of lost ones to the same queue.
    fn fixture() -> Fixture {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
        let (permit, permissions) = mpsc::channel();
        let (written_tx, written) = mpsc::channel();
        let gate = Gate { permissions, written: written_tx };
        std::thread::spawn(move || queue.write_lines(gate, |n| queue.push(format!("{n} lost").as_bytes())));
        Fixture { queue, permit, written }
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let Fixture { queue, permit, written } = fixture();
        for n in 0..100 {
            queue.push(n.to_string().as_bytes());
            permit.send(Ok(())).unwrap();
        }
        queue.wait_until_written(Duration::MAX);
        assert!(written.try_iter().eq((0..100).map(|n| n.to_string())));
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_sink_that_blocks_costs_lines_and_bounded_memory_but_no_time() {
        let Fixture { queue, permit, written } = fixture();
        let line = [b'x'; 1024];
        let room = LOG_QUEUE_BYTES / line.len();
        let pushed = 10 * room as u64;
        for _ in 0..pushed {
            queue.push(&line);
        }
        // The thread that writes may have taken one more.
        let kept = pushed - queue.lost();
        assert!((room as u64..=room as u64 + 1).contains(&kept), "{kept}");
        assert!(queue.lock().bytes <= LOG_QUEUE_BYTES);
        queue.wait_until_written(Duration::ZERO);
        assert_eq!(written.try_recv(), Err(mpsc::TryRecvError::Empty), "the wait was given up");

        // Once the sink takes lines, all the kept ones come, then the number of lost ones.
        for _ in 0..=kept {
            permit.send(Ok(())).unwrap();
        }
        let lines: Vec<_> = (0..=kept).map(|_| written.recv().unwrap()).collect();
        assert_eq!(lines.last(), Some(&format!("{} lost", pushed - kept)));
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost_and_the_next_is_not() {
        let Fixture { queue, permit, written } = fixture();
        for (line, result) in
            [("first", Ok(())), ("second", Err(io::ErrorKind::StorageFull)), ("third", Ok(()))]
        {
            queue.push(line.as_bytes());
            permit.send(result.map_err(Into::into)).unwrap();
        }
        permit.send(Ok(())).unwrap();
        for expected in ["first", "third", "1 lost"] {
            assert_eq!(written.recv().unwrap(), expected);
        }
        assert_eq!(queue.lost(), 1);
    }
}
