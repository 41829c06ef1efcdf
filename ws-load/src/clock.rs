//! The clocks: one that all processes of this machine share, to compare times of sending and receiving, and the
//! processor time of processes.

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

/// The clock that trades' `timestamp` has: Unix milliseconds.
pub fn unix_ms() -> u64 {
    read(ClockId::CLOCK_REALTIME).unwrap_or_default() / 1_000_000
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
    fn nobody_has_no_time() {
        assert_eq!(process_cpu_ns(u32::MAX), None);
    }
}
