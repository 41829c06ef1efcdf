//! The clocks: one that all processes of this machine share, to compare times of sending and receiving, and the
//! processor time of processes.

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Nanoseconds of the monotonic clock: the same for every process of this machine, since its start.
pub fn monotonic_ns() -> u64 {
    // The clock always exists; without it every time would be 0, which no measurement could hide.
    read(ClockId::CLOCK_MONOTONIC).unwrap_or_default()
}

/// Nanoseconds of processor time that a process has used, all threads together, ended ones included.
///
/// The kernel keeps this clock for each process; it is `/proc/PID/task/*/schedstat` summed, but exact at the moment
/// of asking, and a thread that ends between two samples is not lost. `None` if there is no such process.
pub fn process_cpu_ns(pid: u32) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    read(ClockId::pid_cpu_clock_id(pid).ok()?)
}

/// A time of the monotonic clock as trades' `timestamp` has it: in Unix milliseconds, cut off below.
pub fn unix_ms_of(monotonic_ns: u64) -> u64 {
    (unix_offset_ns() + monotonic_ns) / 1_000_000
}

/// The time of the monotonic clock at which a Unix millisecond began.
pub fn monotonic_of(unix_ms: u64) -> u64 {
    unix_ms.saturating_mul(1_000_000).saturating_sub(unix_offset_ns())
}

/// What the Unix clock is ahead, as this process has first seen it. Where somebody sets that clock during a run, times that come by it are off.
fn unix_offset_ns() -> u64 {
    static OFFSET_NS: OnceLock<u64> = OnceLock::new();
    *OFFSET_NS
        .get_or_init(|| read(ClockId::CLOCK_REALTIME).unwrap_or_default().saturating_sub(monotonic_ns()))
}

/// The Unix milliseconds of a moment as RFC 3339 has it, in UTC, of a year from 1970 on: `2021-02-22T15:51:44.208Z`.
pub fn rfc3339_ms(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let ms = match text.as_bytes().get(19)? {
        b'Z' => 0,
        _ => number(20..23)?,
    };
    // Years that begin in March, so that a leap day is the last of one; 719,468 days of them go before 1970.
    let (year, month) = if month < 3 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day.checked_sub(1)?;
    let seconds = (days.checked_sub(719_468)? * 24 + hour) * 3_600 + minute * 60 + second;
    Some(seconds * 1_000 + ms)
}

fn read(clock: ClockId) -> Option<u64> {
    let time = clock_gettime(clock).ok()?;
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_uses_more() {
        let before_ns = process_cpu_ns(std::process::id()).unwrap();
        let begin_ns = monotonic_ns();
        let mut turns = 0_u64;
        while process_cpu_ns(std::process::id()).unwrap() <= before_ns {
            turns += 1;
        }
        assert!(before_ns > 0 && monotonic_ns() > begin_ns, "after {turns} turns");
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        assert_eq!(rfc3339_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339_ms("2021-02-22T15:51:44.208Z"), Some(1_614_009_104_208));
        assert_eq!(rfc3339_ms("2024-02-29T23:59:59.999123456Z"), Some(1_709_251_199_999));
        for bad in [
            "",
            "2021-02-22",
            "2021-02-22T15:51:44",
            "1969-12-31T23:59:59Z",
            "2021-0x-22T15:51:44Z",
            "0000-01-01T00:00:00Z",
            "2021-01-00T00:00:00Z",
        ] {
            assert_eq!(rfc3339_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_comes_back_by_the_unix_clock_to_the_millisecond() {
        let now_ns = monotonic_ns();
        let back_ns = monotonic_of(unix_ms_of(now_ns));
        assert!((0..1_000_000).contains(&(now_ns - back_ns)), "{now_ns} {back_ns}");
    }

    #[test]
    fn nobody_has_no_time() {
        assert_eq!(process_cpu_ns(u32::MAX), None);
    }
}
