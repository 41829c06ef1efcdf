//! What a failed `accept(2)` says, for everything that listens.

use std::io;

/// What is lost with a failed `accept`, and so when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Only that connection: the next one may be fine, so try at once.
    Connection,
    /// The process or the system ran out of something, or the cause is unknown: trying at once would take all of a core.
    Exhausted,
}

/// Sorts the errors of `accept(2)`. Linux passes errors that are already pending on the new socket to the caller, and the
/// manual asks to treat those "like EAGAIN by retrying"; EPERM is a firewall's refusal.
pub fn classify(error: &io::Error) -> Failure {
    let Some(errno) = error.raw_os_error() else { return Failure::Exhausted };
    match errno {
        libc::ECONNABORTED
        | libc::ECONNRESET
        | libc::ENOTCONN
        | libc::EINTR
        | libc::EAGAIN
        | libc::EPERM
        | libc::EPROTO
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP
        | libc::ETIMEDOUT
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTUNREACH => Failure::Connection,
        #[cfg(target_os = "linux")]
        libc::EHOSTDOWN | libc::ENONET => Failure::Connection,
        _ => Failure::Exhausted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(errno: i32) -> Failure {
        classify(&io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn running_out_is_told_from_a_lost_connection() {
        for errno in
            [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EBADF, libc::ENOTSOCK, 4095]
        {
            assert_eq!(class(errno), Failure::Exhausted, "errno {errno}");
        }
        for errno in
            [libc::ECONNABORTED, libc::EINTR, libc::EPERM, libc::EPROTO, libc::ENETDOWN, libc::EHOSTUNREACH]
        {
            assert_eq!(class(errno), Failure::Connection, "errno {errno}");
        }
        assert_eq!(classify(&io::Error::other("no errno")), Failure::Exhausted);
    }
}
