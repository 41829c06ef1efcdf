//! How the connection and the feed stand, in words that don't flatter. Pure: time comes in.

use std::time::Duration;

use serde_json::Value;

use super::model::Now;
use crate::client::reconnect::Ended;

/// Heartbeats come each second: without any frame for so long, the link is mute.
const MUTE_AFTER_MS: u64 = 3_500;

/// A feed without an event for so long is called quiet: nothing may have happened, or a worker may be dead.
const QUIET_AFTER_MS: u64 = 30_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    Down { why: String, again_at_ms: u64 },
}

/// Connection and feed.
#[derive(Debug, Clone)]
pub struct Link {
    /// Of the gateway.
    pub url: String,
    /// The last round trip through the gateway's queue for us.
    pub round_trip_ms: Option<f64>,
    /// How often the connection was lost.
    pub losses: u64,
    phase: Phase,
    /// When the last connection was lost, while there is none.
    lost_at_ms: Option<u64>,
    heard_at_ms: u64,
    pinged_at_us: Option<u64>,
    feed_is_down: bool,
    /// By the last heartbeat: when it came, and how old the feed's last event was, if there was one.
    feed_age: Option<(u64, Option<u64>)>,
}

/// How it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// An attempt is under way.
    Connecting,
    /// What is on the screen is current.
    Live,
    /// Current, but the feed has brought nothing for so long.
    Quiet(u64),
    /// The connection is open, but nothing has come for so long, not even a heartbeat.
    Mute(u64),
    /// The gateway has lost its feed: no events come, and none can.
    FeedDown,
    /// There is no connection.
    Down {
        /// How the last one ended, in words.
        why: String,
        /// Until the next attempt.
        again_in_ms: u64,
        /// Since the connection was lost, if there was one.
        for_ms: Option<u64>,
    },
}

impl Standing {
    /// Whether the prices on the screen may be passed off as current.
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Live | Self::Quiet(_))
    }
}

impl Link {
    /// No attempt yet.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            round_trip_ms: None,
            losses: 0,
            phase: Phase::Connecting,
            lost_at_ms: None,
            heard_at_ms: 0,
            pinged_at_us: None,
            feed_is_down: false,
            feed_age: None,
        }
    }

    /// How it stands.
    pub fn standing(&self, now: Now) -> Standing {
        let silence_ms = now.ms().saturating_sub(self.heard_at_ms);
        match &self.phase {
            Phase::Connecting => Standing::Connecting,
            Phase::Down { why, again_at_ms } => Standing::Down {
                why: why.clone(),
                again_in_ms: again_at_ms.saturating_sub(now.ms()),
                for_ms: self.lost_at_ms.map(|at_ms| now.ms().saturating_sub(at_ms)),
            },
            Phase::Open if silence_ms > MUTE_AFTER_MS => Standing::Mute(silence_ms),
            Phase::Open if self.feed_is_down => Standing::FeedDown,
            Phase::Open => match self.feed_age {
                Some((at_ms, Some(age_ms))) => {
                    let age_ms = age_ms + now.ms().saturating_sub(at_ms);
                    if age_ms > QUIET_AFTER_MS { Standing::Quiet(age_ms) } else { Standing::Live }
                }
                _ => Standing::Live,
            },
        }
    }

    /// The gateway has lost its feed, as far as it has said.
    pub fn is_feed_down(&self) -> bool {
        self.feed_is_down
    }

    /// An attempt begins.
    pub fn connecting(&mut self) {
        self.phase = Phase::Connecting;
    }

    /// It has succeeded: for how long there was no connection, if there was one before.
    pub fn connected(&mut self, now: Now) -> Option<u64> {
        self.phase = Phase::Open;
        self.heard_at_ms = now.ms();
        self.pinged_at_us = None;
        self.feed_is_down = false;
        self.feed_age = None;
        self.lost_at_ms.take().map(|at_ms| now.ms().saturating_sub(at_ms))
    }

    /// There is no connection, or none any more.
    pub fn ended(&mut self, ended: &Ended, again_in: Duration, now: Now) {
        if self.phase == Phase::Open {
            self.losses += 1;
            self.lost_at_ms = Some(now.ms());
        }
        let again_in_ms = u64::try_from(again_in.as_millis()).unwrap_or(u64::MAX);
        self.round_trip_ms = None;
        self.phase = Phase::Down { why: ended.in_short(), again_at_ms: now.ms().saturating_add(again_in_ms) };
    }

    /// Something came.
    pub fn heard(&mut self, now: Now) {
        self.heard_at_ms = now.ms();
    }

    /// A ping has left.
    pub fn pinged(&mut self, now: Now) {
        self.pinged_at_us = Some(now.us);
    }

    /// Its answer has come.
    pub fn pong(&mut self, now: Now) {
        if let Some(pinged_at_us) = self.pinged_at_us.take() {
            self.round_trip_ms = Some(now.us.saturating_sub(pinged_at_us) as f64 / 1000.0);
        }
    }

    /// The gateway speaks of its feed.
    pub fn status(&mut self, event: &str, data: &Value, now: Now) {
        let is_down = |field: &str| data.get(field).and_then(Value::as_str) == Some("down");
        match event {
            "feed" => self.feed_is_down = is_down("state"),
            "heartbeat" => {
                self.feed_is_down = is_down("feed");
                self.feed_age = Some((now.ms(), data.get("lastEventAgeMs").and_then(Value::as_u64)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { us: ms * 1000, unix_ms: 0 }
    }

    fn heartbeat(link: &mut Link, data: &str, now: Now) {
        link.heard(now);
        link.status("heartbeat", &serde_json::from_str(data).unwrap(), now);
    }

    #[test]
    fn an_open_connection_is_live_only_while_something_comes() {
        let mut link = Link::new("ws://gateway");
        assert_eq!(link.standing(at(1)), Standing::Connecting);
        assert_eq!(link.connected(at(10)), None);
        assert_eq!(link.standing(at(3_510)), Standing::Live);
        assert_eq!(link.standing(at(3_511)), Standing::Mute(3_501));
        heartbeat(&mut link, r#"{"feed":"up","lastEventAgeMs":29000}"#, at(4_000));
        assert_eq!(link.standing(at(5_000)), Standing::Live);
        assert_eq!(link.standing(at(5_001)), Standing::Quiet(30_001));
        heartbeat(&mut link, r#"{"feed":"down","lastEventAgeMs":null}"#, at(6_000));
        assert_eq!(link.standing(at(6_001)), Standing::FeedDown);
        link.status("feed", &serde_json::json!({"state": "up", "gapMs": 7}), at(6_002));
        assert_eq!(link.standing(at(6_003)), Standing::Live, "no event yet is no old event");
        assert!(!Standing::Mute(1).is_current() && !Standing::FeedDown.is_current());
    }

    #[test]
    fn a_lost_connection_tells_since_when_and_until_when() {
        let mut link = Link::new("ws://gateway");
        let closed = Ended::Closed { code: Some(1012), reason: "restart".to_owned() };
        link.ended(&Ended::Unreachable("refused".to_owned()), Duration::from_millis(200), at(5));
        let Standing::Down { for_ms: None, again_in_ms: 200, .. } = link.standing(at(5)) else { panic!() };
        link.connecting();
        link.connected(at(10));
        link.pinged(at(11));
        link.pong(Now { us: 11_400, unix_ms: 0 });
        assert_eq!(link.round_trip_ms, Some(0.4));
        link.ended(&closed, Duration::from_millis(500), at(20));
        assert_eq!(
            link.standing(at(120)),
            Standing::Down { why: closed.in_short(), again_in_ms: 400, for_ms: Some(100) }
        );
        link.connecting();
        link.ended(&Ended::Lost("reset".to_owned()), Duration::from_millis(500), at(600));
        let Standing::Down { for_ms: Some(580), .. } = link.standing(at(600)) else { panic!() };
        assert_eq!((link.losses, link.round_trip_ms), (1, None));
        link.connecting();
        assert_eq!((link.connected(at(700)), link.connected(at(800))), (Some(680), None));
    }
}
