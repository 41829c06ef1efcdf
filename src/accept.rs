//! Sorts errors of `accept(2)`, for every listener.

use std::io;

/// What a failed `accept` means, and so when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Only this connection is lost. Try again at once.
    Connection,
    /// The process or the system ran out of something, or the cause is unknown. Wait before trying again: a loop without
    /// a pause would use a whole core.
    Exhausted,
}

/// Sorts an error of `accept(2)`. Linux passes on errors that are already pending on the new socket, and the manual page
/// says to treat these "like EAGAIN by retrying". EPERM is a firewall's refusal.
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
    fn exhaustion_is_distinguished_from_a_lost_connection() {
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
