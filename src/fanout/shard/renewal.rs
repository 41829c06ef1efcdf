//! What a token changes that is granted: the client's subscriptions, on which terms and how fast they are served, and what it is told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::narrowed::Narrowed;
use super::Shard;
use super::auth::held_by;
use super::conn::{ConnKey, FeedNews};
use super::subscriptions::{Pending, Purpose, Renewal};
use crate::bus::{Feed, Verified};
use crate::identity::{Grant, User};
use crate::market::Subject;
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Id;

impl Shard {
    /// The client is authenticated or renews its token. Its subscriptions are intersected with the new rights. Topics that this adds are
    /// asked of ingest first, so that no event is missed between the old ones and the new.
    pub(super) fn renew(&mut self, key: ConnKey, verified: Verified, id: Option<Id>) {
        let Verified { identity, seat } = verified;
        let Some(conn) = self.conns.get(key) else { return };
        let index = &mut self.subscriptions.index;
        let held = held_by(conn, index, key);
        let max_symbols = identity.rights.max_symbols_in(conn.dialect);
        let grants = identity.rights.grant_again(held.iter().copied().cloned(), max_symbols);
        let old: HashSet<_> = index.subjects_of(key).cloned().collect();
        let is_covered = |subject: &Subject| identity.rights.covers(subject);
        let has_lost_some = grants.len() < held.len() || !old.iter().all(is_covered);
        let mut seen = HashSet::new();
        let parts = grants.iter().flat_map(|grant| &grant.parts);
        let added: Vec<_> = parts.filter(|part| !old.contains(part) && seen.insert(*part)).cloned().collect();
        let newly_held = index.hold_all(&added);
        let must_wait = !newly_held.is_empty() || !index.all_live(&added);
        let purpose = Purpose::Renewal(Box::new(Renewal { identity, seat, grants, has_lost_some, id }));
        let pending = Pending { ticket: self.subscriptions.next_ticket(), key, subjects: added, purpose };
        self.ask(pending, must_wait, newly_held, None);
    }

    /// The client is subscribed to what its new rights leave of its subscriptions, and told who it is.
    pub(super) fn complete_renewal(&mut self, key: ConnKey, added: &[Subject], renewal: Renewal) {
        let Renewal { identity, seat, grants, has_lost_some, id } = renewal;
        self.subscriptions.index.subscribe(key, added);
        self.inherit_terms(key, &grants, added);
        let parts: HashSet<_> = grants.iter().flat_map(|grant| &grant.parts).collect();
        let subjects = self.subscriptions.index.subjects_of(key);
        let ended: Vec<_> = subjects.filter(|subject| !parts.contains(subject)).cloned().collect();
        self.end(key, &ended);
        let feed_before = self.conns.get(key).map(|conn| self.feeds[conn.delay().index()]);
        let request = self.identify(key, Arc::clone(&identity), seat);
        let Self { conns, subscriptions, output, clocks, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if let Some(narrowed) = conn.narrowed_mut() {
            *narrowed = Narrowed::default();
            narrowed.add(grants);
        }
        conn.has_authenticated = true;
        let held = held_by(conn, &subscriptions.index, key);
        let reply = Reply::Authenticated {
            user: identity.user.as_ref().map(User::as_str),
            expires_ms: identity.expiry.map(|expiry| expiry.expires_ms),
            held: has_lost_some.then_some(&held),
            id: id.as_ref(),
        };
        let reply = output.write(conn, &reply, clocks.now.unix_ms);
        output.queue(key, conn, reply);
        self.note_joined(key, id.as_ref());
        self.seat_at_desk(key);
        self.trim_backfill(key);
        self.release_unwanted();
        self.cap_rates(key);
        self.arm(key);
        self.take_first_request(key, request);
        self.tell_feed_change(key, feed_before);
        self.tell_feed_once(key);
        self.ask_inbox_once(key);
        self.close_if_replaced(key);
    }

    /// Tells a client that has come to a feed with another delay of that feed's upstream, if it was told otherwise of the feed before.
    fn tell_feed_change(&mut self, key: ConnKey, before: Option<Feed>) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.feed_news == FeedNews::Told) else {
            return;
        };
        match (before, self.feeds[conn.delay().index()]) {
            (Some(Feed::Down), Feed::Up { .. }) => {
                self.say(key, &Reply::Status(Status::FeedUp { gap_ms: 0 }));
            }
            (Some(Feed::Up { .. }), Feed::Down) => conn.feed_news = FeedNews::Due,
            _ => {}
        }
    }

    /// A subscription that replaces another keeps its conflation and rate.
    fn inherit_terms(&mut self, key: ConnKey, grants: &[Grant], added: &[Subject]) {
        let Self { conns, subscriptions, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if added.iter().any(|subject| subject.name.is_wildcard()) {
            conn.extras.get_or_insert_default();
        }
        let Some(extras) = conn.extras.as_mut().filter(|_| !added.is_empty()) else { return };
        let added: HashSet<_> = added.iter().collect();
        let session = conn.session.as_ref();
        let narrowed = session.and_then(|session| session.narrowed.as_ref());
        let before: Option<HashMap<_, _>> = narrowed.map(|narrowed| narrowed.parts().collect());
        for Grant { written, parts } in grants {
            let part = before.as_ref().map_or(Some(&written), |before| before.get(written));
            let topic = part.and_then(|part| subscriptions.index.topic(part));
            let Some(terms) = topic.and_then(|topic| extras.conflation.terms_of(topic)) else { continue };
            let new = parts.iter().filter(|part| added.contains(part));
            new.filter_map(|part| subscriptions.index.topic(part)).for_each(|topic| {
                extras.conflation.inherit(topic, terms);
            });
        }
    }

    /// Holds everything that the client is subscribed to to its claim `maxRate`, and no longer to that of an earlier token.
    fn cap_rates(&mut self, key: ConnKey) {
        let Self { conns, clocks, metrics, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        let max_rate = conn.identity.as_ref().and_then(|identity| identity.rights.max_rate);
        if max_rate.is_some() {
            conn.extras.get_or_insert_default();
        }
        let Some(extras) = &mut conn.extras else { return };
        extras.conflation.cap(&mut conn.outbox, max_rate);
        metrics.events_conflated.add(extras.conflation.take_replaced());
        let begun = extras.conflation.take_phases_begun();
        clocks.phases_begun.extend(begun.map(|period_us| (key, period_us)));
    }
}
