//! The limit on open files, which is the limit on clients.

use crate::limits::OPEN_FILES_UNKNOWN;

/// The soft limit as it is now.
pub(super) fn open_file_limit() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(OPEN_FILES_UNKNOWN)
}

/// Raises the soft limit to the hard one, and returns what it is then. The soft limit is low (1024) for the sake of programs
/// that use `select`, which cannot take larger descriptors; we use epoll.
pub fn raise_open_file_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|_| open_file_limit())
}
