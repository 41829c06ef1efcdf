//! What the publisher says of itself: a line per event while one can read along, else one a second, and the totals.

use std::time::Duration;

use tokio::time::Instant;

use super::source::{Batch, Message};
use crate::event;
use crate::term::{self, Palette, Unprinted, clean, tell};
use crate::trade::{HEADING, Rows, Trade};

/// Nobody reads along above so many events a second.
const READABLE_RATE: f64 = 20.0;

/// How often the numbers are told then.
const PERIOD: Duration = Duration::from_secs(1);

/// A publisher that is late by more than this can't keep its rate up, and says so.
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// Counts, and tells.
#[derive(Debug)]
pub struct Report {
    /// Where events are shown one by one.
    rows: Option<Rows>,
    started: Instant,
    told: Instant,
    published_then: u64,
    published: u64,
    receivers: u64,
}

impl Report {
    /// `expected_rate` is in events per second; where it isn't known they aren't shown one by one.
    pub fn new(expected_rate: Option<f64>) -> Self {
        let readable = expected_rate.is_some_and(|rate| rate <= READABLE_RATE);
        let now = Instant::now();
        Self {
            rows: readable.then(|| Rows::new(Palette::for_stdout())),
            started: now,
            told: now,
            published_then: 0,
            published: 0,
            receivers: 0,
        }
    }

    /// Redis has taken a batch; `receivers` are per event, `behind` is how late the next one is.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn published(&mut self, batch: &Batch, receivers: &[u64], behind: Duration) -> Result<(), Unprinted> {
        if let Some(rows) = &mut self.rows {
            if self.published == 0 {
                term::print(HEADING)?;
            }
            for (message, &receivers) in batch.messages().iter().zip(receivers) {
                term::print(&line(rows, message, receivers))?;
            }
        }
        self.published += receivers.len() as u64;
        self.receivers += receivers.iter().sum::<u64>();
        if self.rows.is_none() && self.told.elapsed() >= PERIOD {
            self.tell(behind);
        }
        Ok(())
    }

    fn tell(&mut self, behind: Duration) {
        let rate = (self.published - self.published_then) as f64 / self.told.elapsed().as_secs_f64();
        let late = if behind > BEHIND_MAX {
            format!(", {:.1} s behind the rate", behind.as_secs_f64())
        } else {
            String::new()
        };
        tell(format_args!(
            "published {} ({rate:.0}/s), delivered to {} receivers{late}",
            self.published, self.receivers
        ));
        self.told = Instant::now();
        self.published_then = self.published;
    }

    /// The last words; `skipped` lines could not be published.
    pub fn total(&self, skipped: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        let Self { published, receivers, .. } = self;
        let skipped = if skipped == 0 { String::new() } else { format!(", skipped {skipped} lines") };
        tell(format_args!(
            "published {published} events in {seconds:.1} s, delivered to {receivers} receivers{skipped}"
        ));
    }
}

/// The event in columns, or the payload itself if it has none.
fn line(rows: &mut Rows, message: &Message, receivers: u64) -> String {
    let note = format!("→ {receivers}");
    let payload = String::from_utf8_lossy(&message.payload);
    if message.type_name != "trade" {
        return event::row(&message.type_name, &payload, &note);
    }
    match serde_json::from_str::<Trade<'_>>(&payload) {
        Ok(trade) => rows.row(&trade, &note),
        Err(_) => format!("{}  {note}", clean(&payload, 200)),
    }
}
