//! Who hears what a session has to tell, and may ask for other symbols while it runs: lines on standard output, or a screen.

use std::fmt::Display;
use std::future::{Future, pending};
use std::time::Duration;

use super::frame::Frame;
use super::reconnect::Ended;
use super::view::View;
use crate::term::{self, on_one_line, tell};

/// What a person at a screen asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To subscribe to a symbol or pattern as well.
    Add(String),
    /// To leave one.
    Remove(String),
}

/// Hears of everything that happens to a session, in its order.
pub trait Audience {
    /// An attempt at a connection begins.
    fn connecting(&mut self) {}

    /// It has succeeded.
    fn connected(&mut self, url: &str);

    /// A connection or an attempt has ended, which `why` says in words; the next attempt is after this time.
    fn ended(&mut self, ended: &Ended, why: &str, again_in: Duration);

    /// A message came: its text, and what it says if it is one of the protocol.
    ///
    /// # Errors
    /// If it can't be shown, for instance because nobody reads standard output any more.
    fn heard(&mut self, text: &str, frame: Option<&Frame<'_>>) -> anyhow::Result<()>;

    /// The client itself has something to say.
    fn remark(&mut self, remark: &dyn Display);

    /// A ping of the protocol has left.
    fn pinged(&mut self) {}

    /// Waits for what is asked for next.
    fn asked(&mut self) -> impl Future<Output = Ask>;
}

/// Prints: events and the gateway's messages to standard output, the client's own to standard error.
#[derive(Debug)]
pub struct Lines {
    /// For people.
    pub view: View,
    /// Frames as they came instead.
    pub json: bool,
}

impl Audience for Lines {
    fn connected(&mut self, url: &str) {
        tell(format_args!("connected to {url}"));
    }

    fn ended(&mut self, _: &Ended, why: &str, again_in: Duration) {
        tell(format_args!("{why}; next attempt in {:.1} s", again_in.as_secs_f64()));
    }

    fn heard(&mut self, text: &str, frame: Option<&Frame<'_>>) -> anyhow::Result<()> {
        match frame {
            _ if self.json => term::print(&on_one_line(text))?,
            Some(frame) => term::print(&self.view.show(frame))?,
            None => {}
        }
        Ok(())
    }

    fn remark(&mut self, remark: &dyn Display) {
        tell(remark);
    }

    async fn asked(&mut self) -> Ask {
        pending().await
    }
}
