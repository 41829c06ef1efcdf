//! The limit on open files, and how it is divided between kinds of connections.

use crate::limits::*;

/// How the process' descriptors are divided, so that no kind of connection can take those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// For WebSocket clients.
    pub clients: usize,
    /// For HTTP connections that aren't upgraded.
    pub http: usize,
    /// For workers connected to the embedded broker.
    pub workers: usize,
}

impl Descriptors {
    /// Divides a limit. The process itself and a few HTTP connections and workers come first. Clients get `clients_wanted` of
    /// the rest, if there are that many, and then HTTP connections and workers get what is left, up to their own bounds.
    pub fn divide(open_files: u64, shards: usize, clients_wanted: usize, has_broker: bool) -> Self {
        let all = usize::try_from(open_files).unwrap_or(usize::MAX);
        let free = all.saturating_sub(FD_PROCESS + FD_SHARD * shards);
        let least = if has_broker { 2 * HTTP_IN_FLIGHT_MIN } else { HTTP_IN_FLIGHT_MIN };
        let clients = clients_wanted.min(free.saturating_sub(least)).max(1);
        let rest = free.saturating_sub(clients);
        let workers = if has_broker { (rest / 2).clamp(1, EMBEDDED_REDIS_CLIENTS_MAX) } else { 0 };
        let http = rest.saturating_sub(workers).clamp(1, HTTP_IN_FLIGHT_MAX);
        Self { clients, http, workers }
    }
}

/// The current soft limit.
pub(super) fn open_file_limit() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(OPEN_FILES_UNKNOWN)
}

/// Raises the soft limit to the hard one, and returns it. The soft limit is usually low (1024) because programs that use
/// `select` can't handle larger descriptors; the gateway uses epoll.
pub fn raise_open_file_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|_| open_file_limit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_connection_gets_descriptors() {
        let divide = |open_files, wanted, broker| {
            let Descriptors { clients, http, workers } = Descriptors::divide(open_files, 2, wanted, broker);
            [clients, http, workers]
        };
        let all = connections_for(65_536);
        assert_eq!(divide(65_536, all, true), [all, HTTP_IN_FLIGHT_MAX, EMBEDDED_REDIS_CLIENTS_MAX]);
        assert_eq!(divide(1_024, connections_for(1_024), false), [768, 214, 0]);
        assert_eq!(divide(1_024, connections_for(1_024), true), [768, 107, 107]);
        assert_eq!(divide(1_024, 1_000_000, false), [1_024 - 42 - 8, 8, 0], "more than there is");
        assert_eq!(divide(64, connections_for(64), true), [6, 8, 8]);
        assert_eq!(divide(10, connections_for(10), true), [1, 1, 1], "a gateway that can't even start");
    }

    proptest! {
        #[test]
        fn the_parts_never_exceed_the_limit(
            open_files in 100_u64..200_000,
            shards in 1_usize..=SHARDS_MAX,
            wanted in 1_usize..=MAX_CONNECTIONS_MAX,
            has_broker: bool,
        ) {
            let all = Descriptors::divide(open_files, shards, wanted, has_broker);
            let fixed = FD_PROCESS + FD_SHARD * shards;
            let room = open_files as usize > fixed + 2 * HTTP_IN_FLIGHT_MIN;
            prop_assert!(!room || fixed + all.clients + all.http + all.workers <= open_files as usize);
            prop_assert!(!room || all.http >= HTTP_IN_FLIGHT_MIN);
            prop_assert!(all.clients <= wanted);
        }
    }
}
