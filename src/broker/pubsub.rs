//! The embedded broker's registry of subscriptions. It is pure.
//!
//! A publish costs one look-up and one match for each pattern. Subscribing and unsubscribing cost a look-up for each
//! name. The memory of each client's subscriptions is bounded in bytes, and so is the memory of all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::glob;

/// The assumed memory of a subscription besides its name: entries in two maps, two references, the client's id.
const SUBSCRIPTION_BYTES: usize = 128;
/// The bound for one client's subscriptions: about 7,000 channels of 20 bytes.
const CLIENT_BYTES_MAX: usize = 1024 * 1024;
/// The bound for all clients' subscriptions.
const TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connected client's id. Ids begin with 1 and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) u64);

/// The kind of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
    /// A channel of `SSUBSCRIBE` and `SPUBLISH`. These have a namespace of their own, and patterns don't match them.
    ShardChannel,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::ShardChannel];
}

/// A subscription was refused: [`CLIENT_BYTES_MAX`] or [`TOTAL_BYTES_MAX`] would be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySubscriptions;

/// A channel or pattern. The maps that have it as a key share its bytes.
type Name = Arc<[u8]>;

/// Subscribers of each channel, in the order in which they came.
type Channels = HashMap<Name, Vec<ClientId>, foldhash::fast::RandomState>;

/// Subscriptions by name and by client.
#[derive(Debug, Default)]
pub(super) struct Registry {
    channels: Channels,
    shard_channels: Channels,
    patterns: BTreeMap<Name, Vec<ClientId>>,
    clients: HashMap<ClientId, Subscriptions>,
    bytes: usize,
}

/// One client's subscriptions.
#[derive(Debug, Default)]
struct Subscriptions {
    channels: BTreeSet<Name>,
    shard_channels: BTreeSet<Name>,
    patterns: BTreeSet<Name>,
    bytes: usize,
}

impl Registry {
    /// Subscribes `client` to `name`. A second time changes nothing.
    pub(super) fn subscribe(
        &mut self,
        client: ClientId,
        kind: Kind,
        name: &[u8],
    ) -> Result<(), TooManySubscriptions> {
        let cost = SUBSCRIPTION_BYTES + name.len();
        let own = self.clients.entry(client).or_default();
        if own.names(kind).contains(name) {
            return Ok(());
        }
        if own.bytes + cost > CLIENT_BYTES_MAX || self.bytes + cost > TOTAL_BYTES_MAX {
            if own.is_empty() {
                self.clients.remove(&client);
            }
            return Err(TooManySubscriptions);
        }
        own.bytes += cost;
        self.bytes += cost;
        let shared = match kind {
            Kind::Channel => self.channels.get_key_value(name).map(|(name, _)| name.clone()),
            Kind::Pattern => self.patterns.get_key_value(name).map(|(name, _)| name.clone()),
            Kind::ShardChannel => self.shard_channels.get_key_value(name).map(|(name, _)| name.clone()),
        };
        let name = shared.unwrap_or_else(|| name.into());
        own.names_mut(kind).insert(name.clone());
        match kind {
            Kind::Channel => self.channels.entry(name).or_default().push(client),
            Kind::Pattern => self.patterns.entry(name).or_default().push(client),
            Kind::ShardChannel => self.shard_channels.entry(name).or_default().push(client),
        }
        Ok(())
    }

    /// Ends a subscription, if the client has it.
    pub(super) fn unsubscribe(&mut self, client: ClientId, kind: Kind, name: &[u8]) {
        let Some(own) = self.clients.get_mut(&client) else { return };
        if !own.names_mut(kind).remove(name) {
            return;
        }
        let cost = SUBSCRIPTION_BYTES + name.len();
        own.bytes -= cost;
        self.bytes -= cost;
        if own.is_empty() {
            self.clients.remove(&client);
        }
        let subscribers = match kind {
            Kind::Channel => self.channels.get_mut(name),
            Kind::Pattern => self.patterns.get_mut(name),
            Kind::ShardChannel => self.shard_channels.get_mut(name),
        };
        let Some(subscribers) = subscribers else { return };
        subscribers.retain(|&subscriber| subscriber != client);
        if subscribers.is_empty() {
            match kind {
                Kind::Channel => drop(self.channels.remove(name)),
                Kind::Pattern => drop(self.patterns.remove(name)),
                Kind::ShardChannel => drop(self.shard_channels.remove(name)),
            }
        }
    }

    /// Ends all of a client's subscriptions.
    pub(super) fn remove(&mut self, client: ClientId) {
        for kind in Kind::ALL {
            for name in self.names(client, kind) {
                self.unsubscribe(client, kind, &name);
            }
        }
    }

    /// How many subscriptions of one kind a client has.
    pub(super) fn count(&self, client: ClientId, kind: Kind) -> usize {
        self.clients.get(&client).map_or(0, |own| own.names(kind).len())
    }

    /// Whether a client is subscribed to anything.
    pub(super) fn is_subscribed(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// The assumed memory of a client's subscriptions, in bytes.
    pub(super) fn bytes_of(&self, client: ClientId) -> usize {
        self.clients.get(&client).map_or(0, |own| own.bytes)
    }

    /// A client's names of one kind, sorted.
    pub(super) fn names(&self, client: ClientId, kind: Kind) -> Vec<Name> {
        self.clients.get(&client).map(|own| own.names(kind).iter().cloned().collect()).unwrap_or_default()
    }

    /// Calls `each` for every subscription that `channel` matches: first the channel's own subscribers, then, with the
    /// pattern, the subscribers of each matching pattern. A client with several such subscriptions is named for each.
    pub(super) fn receivers(&self, channel: &[u8], mut each: impl FnMut(ClientId, Option<&[u8]>)) {
        for &client in self.channels.get(channel).into_iter().flatten() {
            each(client, None);
        }
        for (pattern, clients) in &self.patterns {
            if glob::matches(pattern, channel) {
                for &client in clients {
                    each(client, Some(pattern));
                }
            }
        }
    }

    /// The subscribers of a shard channel.
    pub(super) fn shard_receivers(&self, channel: &[u8]) -> &[ClientId] {
        self.shard_channels.get(channel).map(Vec::as_slice).unwrap_or_default()
    }

    /// The channels that have subscribers.
    pub(super) fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.keys().map(AsRef::as_ref)
    }

    /// The shard channels that have subscribers.
    pub(super) fn shard_channels(&self) -> impl Iterator<Item = &[u8]> {
        self.shard_channels.keys().map(AsRef::as_ref)
    }

    /// How many clients are subscribed to `channel` itself.
    pub(super) fn subscribers(&self, channel: &[u8]) -> usize {
        self.channels.get(channel).map_or(0, Vec::len)
    }

    /// How many different patterns have subscribers.
    pub(super) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Whether any client is subscribed to `pattern`.
    pub(super) fn has_pattern(&self, pattern: &[u8]) -> bool {
        self.patterns.contains_key(pattern)
    }
}

impl Subscriptions {
    fn names(&self, kind: Kind) -> &BTreeSet<Name> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::ShardChannel => &self.shard_channels,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut BTreeSet<Name> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }

    fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|&kind| self.names(kind).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every subscription in one list, in the order of subscribing.
    #[derive(Default)]
    struct Model(Vec<(u64, Kind, String)>);

    impl Model {
        fn receivers(&self, channel: &str) -> Vec<(u64, Option<String>)> {
            let mut out: Vec<_> = (self.0.iter())
                .filter(|(_, kind, name)| *kind == Kind::Channel && name == channel)
                .map(|(client, ..)| (*client, None))
                .collect();
            let mut patterns: Vec<_> = (self.0.iter())
                .filter(|(_, kind, name)| {
                    *kind == Kind::Pattern && glob::matches(name.as_bytes(), channel.as_bytes())
                })
                .collect();
            patterns.sort_by(|a, b| a.2.cmp(&b.2));
            out.extend(patterns.into_iter().map(|(client, _, name)| (*client, Some(name.clone()))));
            out
        }

        fn shard_receivers(&self, channel: &str) -> Vec<ClientId> {
            let of_channel =
                self.0.iter().filter(|(_, kind, name)| *kind == Kind::ShardChannel && name == channel);
            of_channel.map(|(client, ..)| ClientId(*client)).collect()
        }
    }

    #[derive(Debug, Clone)]
    enum Action {
        Subscribe(u64, Kind, String),
        Unsubscribe(u64, Kind, String),
        Remove(u64),
        Publish(String),
    }

    fn action() -> impl Strategy<Value = Action> {
        let client = 1..4_u64;
        let kind = proptest::sample::select(&Kind::ALL[..]);
        let name = "[ab]{1,2}|a\\*|\\*|\\?b";
        prop_oneof![
            (client.clone(), kind.clone(), name).prop_map(|(c, k, n)| Action::Subscribe(c, k, n)),
            (client.clone(), kind, name).prop_map(|(c, k, n)| Action::Unsubscribe(c, k, n)),
            client.prop_map(Action::Remove),
            "[ab]{1,2}".prop_map(Action::Publish),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_list(actions in proptest::collection::vec(action(), 0..60)) {
            let (mut registry, mut model) = (Registry::default(), Model::default());
            for action in actions {
                match action {
                    Action::Subscribe(client, kind, name) => {
                        prop_assert_eq!(registry.subscribe(ClientId(client), kind, name.as_bytes()), Ok(()));
                        if !model.0.contains(&(client, kind, name.clone())) {
                            model.0.push((client, kind, name));
                        }
                    }
                    Action::Unsubscribe(client, kind, name) => {
                        registry.unsubscribe(ClientId(client), kind, name.as_bytes());
                        model.0.retain(|held| *held != (client, kind, name.clone()));
                    }
                    Action::Remove(client) => {
                        registry.remove(ClientId(client));
                        model.0.retain(|held| held.0 != client);
                    }
                    Action::Publish(channel) => {
                        let mut named = Vec::new();
                        registry.receivers(channel.as_bytes(), |client, pattern| {
                            named.push((client.0, pattern.map(|p| String::from_utf8_lossy(p).into_owned())));
                        });
                        prop_assert_eq!(named, model.receivers(&channel));
                        prop_assert_eq!(
                            registry.shard_receivers(channel.as_bytes()),
                            model.shard_receivers(&channel)
                        );
                    }
                }
                for client in 1..4 {
                    for kind in Kind::ALL {
                        let held = model.0.iter().filter(|held| held.0 == client && held.1 == kind).count();
                        prop_assert_eq!(registry.count(ClientId(client), kind), held);
                    }
                    let held = model.0.iter().any(|held| held.0 == client);
                    prop_assert_eq!(registry.is_subscribed(ClientId(client)), held);
                }
                let cost: usize = model.0.iter().map(|held| SUBSCRIPTION_BYTES + held.2.len()).sum();
                prop_assert_eq!(registry.bytes, cost);
                prop_assert_eq!(registry.clients.is_empty(), model.0.is_empty());
            }
        }
    }

    #[test]
    fn a_clients_subscriptions_are_bounded() {
        let mut registry = Registry::default();
        let fitting = CLIENT_BYTES_MAX / (SUBSCRIPTION_BYTES + 8);
        for i in 0..fitting {
            let name = format!("{i:08}");
            assert_eq!(registry.subscribe(ClientId(1), Kind::Channel, name.as_bytes()), Ok(()));
        }
        assert_eq!(registry.subscribe(ClientId(1), Kind::Pattern, b"one more"), Err(TooManySubscriptions));
        assert_eq!(registry.subscribe(ClientId(2), Kind::Pattern, b"one more"), Ok(()));
        registry.remove(ClientId(1));
        assert_eq!(
            registry.subscribe(ClientId(1), Kind::Pattern, &[b'x'; CLIENT_BYTES_MAX]),
            Err(TooManySubscriptions)
        );
        assert!(!registry.is_subscribed(ClientId(1)), "a refusal leaves nothing behind");
        assert_eq!(registry.subscribe(ClientId(1), Kind::Pattern, b"one more"), Ok(()));
        assert_eq!(registry.channels().count(), 0);
    }
}
