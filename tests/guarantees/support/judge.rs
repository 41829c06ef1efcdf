//! What has to hold of what people said and heard in rooms: one order for all members, nothing twice, nothing lost without a word.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::talkers::{Record, Said, Stay};

/// What is on its way to a connection that ends has no time to come.
const SLACK: Duration = Duration::from_millis(300);
/// The clocks of a gap and of a message differ by this much: they are read by two processes.
const CLOCKS_MS: u64 = 100;

/// What became of messages that members were to hear.
#[derive(Debug, Default)]
struct Owed {
    made: usize,
    announced: usize,
}

/// Judges all, and prints what there was of it.
pub(crate) fn judge(record: &Record, rooms: usize) {
    nothing_twice(record);
    let mut by_room: BTreeMap<usize, (Vec<&Stay>, Vec<&Said>)> = BTreeMap::new();
    for stay in &record.stays {
        by_room.entry(stay.user % rooms).or_default().0.push(stay);
    }
    for said in &record.said {
        by_room.entry(said.user % rooms).or_default().1.push(said);
    }
    let mut owed = Owed::default();
    for (room, (stays, said)) in &by_room {
        one_order(*room, stays);
        for stay in stays {
            nothing_lost_without_a_word(stay, said, &mut owed);
        }
    }
    let users: HashSet<_> = record.stays.iter().map(|stay| stay.user).collect();
    let heard: usize = record.stays.iter().map(|stay| stay.heard.len()).sum();
    eprintln!(
        "{} users in {rooms} rooms, {} connections: {} messages sent, {} requests refused, {heard} delivered; of {} owed to members {} were lost and announced",
        users.len(),
        record.stays.len(),
        record.said.len(),
        record.refused,
        owed.made + owed.announced,
        owed.announced,
    );
    assert!(owed.made > record.said.len(), "most were there: {owed:?} of {}", record.said.len());
}

fn nothing_twice(record: &Record) {
    let mut by_user = BTreeMap::<usize, Vec<&Stay>>::new();
    record.stays.iter().for_each(|stay| by_user.entry(stay.user).or_default().push(stay));
    for (user, stays) in &by_user {
        let heard: Vec<_> = stays.iter().flat_map(|stay| &stay.heard).collect();
        let distinct: HashSet<_> = heard.iter().collect();
        assert_eq!(heard.len(), distinct.len(), "user {user} has heard something twice");
    }
}

fn one_order(room: usize, stays: &[&Stay]) {
    let places: Vec<HashMap<_, _>> = stays.iter().map(|stay| stay.heard.iter().zip(0..).collect()).collect();
    for (one, stay) in stays.iter().enumerate() {
        for (other, place) in places.iter().enumerate().filter(|(other, _)| *other != one) {
            let common: Vec<usize> = stay.heard.iter().filter_map(|key| place.get(key).copied()).collect();
            assert!(common.is_sorted(), "stays {one} and {other} of room {room} have heard another order");
        }
    }
}

/// Every message that Redis has taken while the connection was a member has come, or falls into a gap that it was told of, or is one of those that it was told to have
/// been too slow for.
fn nothing_lost_without_a_word(stay: &Stay, said: &[&Said], owed: &mut Owed) {
    let heard: HashSet<_> = stay.heard.iter().collect();
    let mut skipped = 0;
    for said in said.iter().filter(|said| stay.joined < said.from && said.until + SLACK < stay.ended) {
        if heard.contains(&(said.user, said.number)) {
            owed.made += 1;
            continue;
        }
        owed.announced += 1;
        let is_told = |(from_ms, until_ms): &(u64, u64)| {
            said.from_ms < until_ms.saturating_add(CLOCKS_MS) && *from_ms < said.until_ms + CLOCKS_MS
        };
        if !stay.gaps.iter().any(is_told) {
            skipped += 1;
            assert!(
                skipped <= stay.skipped,
                "{said:?} was lost without a word by user {}, who joined {:?} before and left {:?} behind it: {:?}",
                stay.user,
                said.from - stay.joined,
                stay.ended - said.until,
                stay.gaps
            );
        }
    }
}
