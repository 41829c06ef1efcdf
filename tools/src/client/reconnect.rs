//! Whether and when to come back after a connection has ended. Pure: how it ended goes in, what to do comes out.

use std::time::Duration;

use fastrand::Rng;

use ws_gateway::backoff::Backoff;

use crate::term::clean;
use crate::{PAUSE_MAX, PAUSE_MIN};

/// The longest delay that we let a gateway impose.
pub const DELAY_MAX: Duration = Duration::from_secs(300);

/// How a connection, or the attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// There was none: nobody listens, no route, no such host, no TLS, no answer in time.
    Unreachable(String),
    /// The gateway (or a proxy) answered the upgrade with an HTTP error.
    Refused {
        /// Of the answer.
        status: u16,
        /// The answer's `Retry-After`.
        retry_after: Option<Duration>,
        /// The answer's body, or what there is of it.
        reason: String,
    },
    /// A close frame came.
    Closed {
        /// RFC 6455 section 7.4; `None` if the frame had none.
        code: Option<u16>,
        /// As the gateway put it.
        reason: String,
    },
    /// The connection broke without a close frame.
    Lost(String),
    /// Nothing came for so long, not even a ping: the link is dead, though nobody has told us.
    Silent(Duration),
}

/// What the protocol's close codes mean.
fn meaning(code: u16) -> &'static str {
    match code {
        1000 => "done",
        1001 => "it got no pong from us, or goes away",
        1002 => "we broke the WebSocket protocol",
        1007 => "we sent bad UTF-8",
        1008 => "not allowed: the token, or a limit",
        1009 => "we sent too much at once",
        1011 => "an error inside the gateway",
        1012 => "it restarts, or sends us elsewhere",
        1013 => "we were too slow, or it is overloaded",
        _ => "no code of the protocol",
    }
}

impl Ended {
    /// In few words, with what a close code means.
    pub fn in_short(&self) -> String {
        let because = |reason: &str| match clean(reason.trim(), 80) {
            reason if reason.is_empty() => reason,
            reason => format!(" \"{reason}\""),
        };
        match self {
            Self::Unreachable(why) => format!("unreachable: {}", clean(why, 120)),
            Self::Refused { status, reason, .. } => format!("refused with HTTP {status}{}", because(reason)),
            Self::Closed { code: Some(code), reason } => {
                format!("closed with {code}{}: {}", because(reason), meaning(*code))
            }
            Self::Closed { code: None, .. } => "closed without a code".to_owned(),
            Self::Lost(why) => format!("lost: {}", clean(why, 120)),
            Self::Silent(silence) => format!("lost: nothing came for {} s", silence.as_secs()),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time.
    Retry(Duration),
    /// The same attempt would fail again: give up.
    GiveUp,
}

/// The policy, with its memory of failures.
#[derive(Debug)]
pub struct Reconnect {
    backoff: Backoff,
    rng: Rng,
    announced: Option<Duration>,
}

impl Reconnect {
    /// Nothing has happened yet.
    pub fn new(rng: Rng) -> Self {
        Self { backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX), rng, announced: None }
    }

    /// The gateway has announced its shutdown and when to come back. It has drawn the delay by lot for each client, so
    /// it is kept to as it is.
    pub fn announced(&mut self, delay: Duration) {
        self.announced = Some(delay.min(DELAY_MAX));
    }

    fn pause(&mut self) -> Duration {
        self.backoff.next_pause_between(0.0, &mut self.rng)
    }

    /// A connection has ended, `held` after it was established (zero if it never was).
    pub fn after(&mut self, ended: &Ended, held: Duration) -> Next {
        // A gateway that takes us and throws us out at once must not be hammered.
        self.backoff.worked_for(held);
        let announced = self.announced.take();
        match ended {
            // As the protocol's table of close codes says.
            Ended::Closed { code: Some(1002 | 1007 | 1008 | 1009), .. } => return Next::GiveUp,
            // Too many connections, or full: passes. Any other 4xx is about the request, which stays the same.
            Ended::Refused { status: 429, retry_after: Some(delay), .. }
            | Ended::Refused { status: 503, retry_after: Some(delay), .. } => {
                // The delay is the same for everybody, so the lot spreads us.
                return Next::Retry((*delay).min(DELAY_MAX) + self.pause());
            }
            Ended::Refused { status: 400..=428 | 430..=499, .. } => return Next::GiveUp,
            Ended::Refused { .. }
            | Ended::Unreachable(_)
            | Ended::Closed { .. }
            | Ended::Lost(_)
            | Ended::Silent(_) => {}
        }
        match announced {
            Some(delay) => {
                self.backoff.reset();
                Next::Retry(delay)
            }
            None => Next::Retry(self.pause()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> Ended {
        Ended::Closed { code: Some(code), reason: String::new() }
    }

    fn refused(status: u16, retry_after_s: Option<u64>) -> Ended {
        Ended::Refused { status, retry_after: retry_after_s.map(Duration::from_secs), reason: String::new() }
    }

    fn policy() -> Reconnect {
        Reconnect::new(Rng::with_seed(3))
    }

    #[test]
    fn the_close_table_decides() {
        for code in [1002, 1007, 1008, 1009] {
            assert_eq!(policy().after(&closed(code), Duration::ZERO), Next::GiveUp, "{code}");
        }
        for code in [1000, 1001, 1011, 1012, 1013, 4000] {
            assert!(matches!(policy().after(&closed(code), Duration::ZERO), Next::Retry(_)), "{code}");
        }
        let no_code = Ended::Closed { code: None, reason: String::new() };
        assert!(matches!(policy().after(&no_code, Duration::ZERO), Next::Retry(_)));
    }

    #[test]
    fn every_close_code_of_the_protocol_is_told_in_words() {
        for code in [1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013] {
            assert!(!closed(code).in_short().contains("no code"), "{code}");
        }
        let because = |reason: &str| Ended::Closed { code: Some(1012), reason: reason.to_owned() }.in_short();
        assert_eq!(because("x\n"), "closed with 1012 \"x\": it restarts, or sends us elsewhere");
        assert!(because("").starts_with("closed with 1012: ") && !because("\u{1b}[2J").contains('\u{1b}'));
        assert!(closed(4000).in_short().ends_with("no code of the protocol"));
    }

    #[test]
    fn a_request_that_stays_wrong_is_not_repeated() {
        for status in [400, 401, 403, 404, 426] {
            assert_eq!(policy().after(&refused(status, None), Duration::ZERO), Next::GiveUp, "{status}");
        }
        for status in [429, 500, 502, 503] {
            assert!(
                matches!(policy().after(&refused(status, None), Duration::ZERO), Next::Retry(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_full_gateway_says_when_to_come_back() {
        let Next::Retry(wait) = policy().after(&refused(503, Some(5)), Duration::ZERO) else {
            panic!("retry")
        };
        assert!((Duration::from_secs(5)..=Duration::from_millis(5_250)).contains(&wait), "{wait:?}");
        let Next::Retry(wait) = policy().after(&refused(429, Some(u64::MAX)), Duration::ZERO) else {
            panic!("retry")
        };
        assert!(wait <= DELAY_MAX + PAUSE_MAX, "{wait:?}");
    }

    #[test]
    fn an_announced_delay_is_kept_to_once() {
        let mut policy = policy();
        for _ in 0..20 {
            policy.after(&Ended::Lost(String::new()), Duration::ZERO);
        }
        policy.announced(Duration::from_millis(1_234));
        assert_eq!(policy.after(&closed(1012), Duration::ZERO), Next::Retry(Duration::from_millis(1_234)));
        // A restart is no failure: the attempt after it begins with the shortest wait.
        let Next::Retry(wait) = policy.after(&Ended::Unreachable(String::new()), Duration::ZERO) else {
            panic!("retry")
        };
        assert!(wait <= Duration::from_millis(250), "{wait:?}");
        policy.announced(Duration::MAX);
        assert_eq!(policy.after(&closed(1012), Duration::ZERO), Next::Retry(DELAY_MAX));
    }

    #[test]
    fn an_announced_delay_doesnt_soften_a_refusal() {
        let mut policy = policy();
        policy.announced(Duration::from_millis(10));
        assert_eq!(policy.after(&closed(1008), Duration::ZERO), Next::GiveUp);
    }

    #[test]
    fn only_a_connection_that_held_forgives_earlier_failures() {
        let mut policy = policy();
        for _ in 0..10 {
            policy.after(&closed(1013), PAUSE_MAX - Duration::from_millis(1));
        }
        assert_eq!(policy.backoff.clone().next_pause(), PAUSE_MAX);
        let Next::Retry(wait) = policy.after(&closed(1013), PAUSE_MAX) else { panic!("retry") };
        assert!(wait <= Duration::from_millis(250), "{wait:?}");
    }
}
