//! What each user's connections to this gateway are, and how many there may be.
//!
//! Users come out of tokens, so strangers don't fill the table. It is bounded all the same: users without a connection are kept only as
//! long as something of their message rate is used up, and at most [`USERS_OWING_MAX`] of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::quality::RandomState;

use super::NotAdmitted;
use crate::bus::{UserSeat, UserShare};
use crate::identity::User;
use crate::limits::{USER_REPLACED_INTERVAL, USERS_OWING_MAX, USERS_SWEPT_MIN};

/// How many connections one user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerUserLimits {
    /// `MAX_CONNECTIONS_PER_USER`; `None` = no limit.
    pub connections: Option<NonZeroUsize>,
    /// `ON_USER_LIMIT`.
    pub on_limit: OnUserLimit,
}

/// `ON_USER_LIMIT`: what becomes of a user's connection beyond `MAX_CONNECTIONS_PER_USER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUserLimit {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the place of the user's oldest, unless that has happened a moment ago.
    CloseOldest,
}

impl OnUserLimit {
    /// As the setting has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::CloseOldest => "close_oldest",
        }
    }
}

/// A user's connection that is let in.
#[derive(Debug)]
pub struct UserAdmitted {
    /// Its place.
    pub seat: Arc<UserSeat>,
    /// The number of the connection whose place it takes, if it does: that one is to be closed.
    pub replaces: Option<u64>,
}

/// The users that this gateway knows. Used by the control side alone; seats are given back without it.
#[derive(Debug)]
pub(super) struct PerUser {
    limits: PerUserLimits,
    users: Mutex<Users>,
}

#[derive(Debug)]
struct Users {
    known: HashMap<User, Known, RandomState>,
    /// With so many users those that need not be known are forgotten. It is twice what was left the last time, so that looking at all
    /// of them costs a connection no more than looking at two.
    sweep_at: usize,
    last_number: u64,
    online: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Known {
    share: Arc<UserShare>,
    /// The oldest first; some may have gone.
    seats: Vec<Weak<UserSeat>>,
    /// When the oldest was last replaced, in microseconds.
    replaced_us: Option<u64>,
}

impl PerUser {
    /// Nobody yet. Users with a connection are counted in `online`.
    pub(super) fn new(limits: PerUserLimits, online: Arc<AtomicU64>) -> Self {
        let users = Users { known: HashMap::default(), sweep_at: USERS_SWEPT_MIN, last_number: 0, online };
        Self { limits, users: Mutex::new(users) }
    }

    pub(super) fn admit(&self, user: &User, now_us: u64) -> Result<UserAdmitted, NotAdmitted> {
        // Nothing panics under the lock, so it is never poisoned in earnest.
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.known.len() >= users.sweep_at && !users.known.contains_key(user) {
            users.sweep(now_us);
        }
        users.last_number += 1;
        let number = users.last_number;
        let online = Arc::clone(&users.online);
        let known = users.known.entry(user.clone()).or_insert_with(|| Known {
            share: UserShare::new(&online),
            seats: Vec::new(),
            replaced_us: None,
        });
        let replaces = known.make_room(&self.limits, now_us)?;
        let seat = UserSeat::new(number, Arc::clone(&known.share));
        known.seats.push(Arc::downgrade(&seat));
        Ok(UserAdmitted { seat, replaces })
    }
}

impl Known {
    /// Makes room for one connection more; returns the number of the one that has to go, if one has.
    fn make_room(&mut self, limits: &PerUserLimits, now_us: u64) -> Result<Option<u64>, NotAdmitted> {
        self.seats.retain(|seat| seat.upgrade().is_some_and(|seat| !seat.is_replaced()));
        let Some(max) = limits.connections.map(NonZeroUsize::get).filter(|max| self.seats.len() >= *max)
        else {
            return Ok(None);
        };
        let has_just_been = |then_us| now_us < then_us + USER_REPLACED_INTERVAL.as_micros() as u64;
        let oldest = match limits.on_limit {
            OnUserLimit::CloseOldest if !self.replaced_us.is_some_and(has_just_been) => {
                self.seats.first().and_then(Weak::upgrade)
            }
            _ => None,
        };
        let oldest = oldest.ok_or(NotAdmitted::ConnectionsPerUser(max))?;
        oldest.replace(max);
        self.replaced_us = Some(now_us);
        self.seats.remove(0);
        Ok(Some(oldest.number))
    }
}

impl Users {
    /// Forgets users that have no connection, unless something of their message rate is used up; of these, the ones that have used the
    /// least beyond [`USERS_OWING_MAX`].
    fn sweep(&mut self, now_us: u64) {
        self.known.retain(|_, known| known.share.is_online() || !known.share.messages.is_whole(now_us));
        let gone = self.known.values().filter(|known| !known.share.is_online());
        let mut owing: Vec<_> = gone.map(|known| known.share.messages.get()).collect();
        if let Some(beyond @ 1..) = owing.len().checked_sub(USERS_OWING_MAX) {
            let (_, least, _) = owing.select_nth_unstable(beyond - 1);
            let least = *least;
            self.known.retain(|_, known| known.share.is_online() || known.share.messages.get() > least);
        }
        self.sweep_at = (2 * self.known.len()).max(USERS_SWEPT_MIN);
        self.known.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rate::Rate;

    const SECOND_US: u64 = 1_000_000;

    fn user(n: usize) -> User {
        User::parse(&format!("user-{n}")).unwrap()
    }

    fn per_user(max: usize, on_limit: OnUserLimit) -> PerUser {
        let limits = PerUserLimits { connections: NonZeroUsize::new(max), on_limit };
        PerUser::new(limits, Arc::default())
    }

    #[test]
    fn each_user_has_so_many_connections() {
        let users = per_user(2, OnUserLimit::Refuse);
        let admit = |n| users.admit(&user(n), 0).map(|admitted| admitted.seat);
        let first = (admit(1).unwrap(), admit(1).unwrap());
        assert_eq!(admit(1).unwrap_err(), NotAdmitted::ConnectionsPerUser(2));
        let _other = admit(2).unwrap();
        let online = || users.users.lock().unwrap().online.load(Ordering::Relaxed);
        assert_eq!(online(), 2);
        drop(first.0);
        let again = admit(1).unwrap();
        assert_eq!(admit(1).unwrap_err(), NotAdmitted::ConnectionsPerUser(2));
        assert_eq!(online(), 2);
        drop((first.1, again));
        assert_eq!(online(), 1);
    }

    #[test]
    fn the_oldest_makes_room_once_in_five_seconds() {
        let users = per_user(2, OnUserLimit::CloseOldest);
        let admit = |now_us| users.admit(&user(1), now_us);
        let (first, second) = (admit(0).unwrap().seat, admit(0).unwrap().seat);
        let third = admit(0).unwrap();
        assert_eq!(third.replaces, Some(first.number));
        assert!(first.is_replaced() && !second.is_replaced(), "before it is closed it counts no more");
        assert_eq!(admit(5 * SECOND_US - 1).unwrap_err(), NotAdmitted::ConnectionsPerUser(2));
        let fourth = admit(5 * SECOND_US).unwrap();
        assert_eq!(fourth.replaces, Some(second.number));
        drop(third);
        let fifth = admit(5 * SECOND_US).unwrap();
        assert_eq!(fifth.replaces, None, "there is room");
        assert_eq!(users.admit(&user(2), 0).unwrap().replaces, None);
    }

    #[test]
    fn what_a_user_has_used_of_its_rate_outlives_its_connections() {
        let rate = Rate::new(1, Duration::from_secs(3_600)).unwrap();
        let users = per_user(0, OnUserLimit::Refuse);
        let come = |n: usize| users.admit(&user(n), 0).unwrap().seat;
        assert_eq!(come(0).share().messages.take(rate, 0), Ok(()));
        for n in 1..10 * USERS_SWEPT_MIN {
            drop(come(n));
        }
        assert!(
            users.users.lock().unwrap().known.len() <= USERS_SWEPT_MIN,
            "who has used nothing is forgotten"
        );
        assert!(come(0).share().messages.take(rate, 0).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_used_the_least() {
        let rate = Rate::new(2, Duration::from_secs(3_600)).unwrap();
        let users = per_user(1, OnUserLimit::Refuse);
        let heavy = users.admit(&user(0), 0).unwrap().seat;
        let _ = (heavy.share().messages.take(rate, 0), heavy.share().messages.take(rate, 0));
        drop(heavy);
        let mut held = VecDeque::new();
        for n in 1..5 * USERS_OWING_MAX {
            let seat = users.admit(&user(n), 0).unwrap().seat;
            seat.share().messages.take(rate, 0).unwrap();
            held.push_back(seat);
            held.truncate(1_000);
            if held.len() == 1_000 {
                held.pop_front();
            }
        }
        let known = users.users.lock().unwrap().known.len();
        assert!(known <= 2 * (USERS_OWING_MAX + 1_000), "{known}");
        let heavy = users.admit(&user(0), 0).unwrap().seat;
        assert!(heavy.share().messages.take(rate, 0).is_err());
    }

    proptest! {
        /// Whatever comes and goes, nobody has more than the limit beside those that are being replaced, and it is always the oldest
        /// that is.
        #[test]
        fn it_is_what_a_list_of_connections_says(
            max in 1usize..4,
            closes in any::<bool>(),
            steps in prop::collection::vec((0usize..2, 0usize..6, 0u64..3 * SECOND_US), 1..200),
        ) {
            let users = per_user(max, if closes { OnUserLimit::CloseOldest } else { OnUserLimit::Refuse });
            let mut model: [(VecDeque<Arc<UserSeat>>, Option<u64>); 2] = Default::default();
            let mut now_us = 0;
            for (who, what, wait_us) in steps {
                now_us += wait_us;
                let (held, replaced_us) = &mut model[who];
                if what < held.len() && what < 2 {
                    held.remove(what);
                    continue;
                }
                let may_replace = closes && replaced_us.is_none_or(|then| now_us >= then + 5 * SECOND_US);
                match users.admit(&user(who), now_us) {
                    Ok(UserAdmitted { seat, replaces }) => {
                        let expected = (held.len() == max).then(|| held.pop_front().unwrap());
                        prop_assert_eq!(replaces, expected.as_ref().map(|oldest| oldest.number));
                        if let Some(oldest) = expected {
                            prop_assert!(may_replace && oldest.is_replaced());
                            *replaced_us = Some(now_us);
                        }
                        held.push_back(seat);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, NotAdmitted::ConnectionsPerUser(max));
                        prop_assert!(held.len() == max && !may_replace);
                    }
                }
            }
        }
    }
}
