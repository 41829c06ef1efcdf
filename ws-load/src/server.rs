//! The server under test, seen from outside: which processes it is, what processor time and memory they take. Linux.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use super::clock::process_cpu_ns;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Processes that are measured together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes(Vec<u32>);

impl Processes {
    /// Those with these ids.
    pub fn new(pids: Vec<u32>) -> Self {
        Self(pids)
    }

    /// Those of this machine that listen at an address; none if they can't be seen.
    pub fn listening_at(addr: SocketAddr) -> Self {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let inodes: BTreeSet<_> =
            tables.iter().flat_map(|table| listening_inodes(table, addr.port())).collect();
        if inodes.is_empty() {
            return Self::default();
        }
        let links: BTreeSet<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
        let Ok(processes) = fs::read_dir("/proc") else { return Self::default() };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(pids.filter(|&pid| has_any(pid, &links)).collect())
    }

    /// Their ids.
    pub fn pids(&self) -> &[u32] {
        &self.0
    }

    /// Whether there is one at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Processor time used so far, all threads; `None` unless every process is there.
    pub fn cpu_ns(&self) -> Option<u64> {
        self.sum(process_cpu_ns)
    }

    /// Memory in use now, in bytes, counted page by page: exact, but it takes the kernel a while.
    pub fn rss_bytes(&self) -> Option<u64> {
        self.sum(|pid| rss_exact(pid).or_else(|| rss_quick(pid)))
    }

    /// The same from the kernel's counters, which may be some hundred KiB behind.
    pub fn rss_bytes_quick(&self) -> Option<u64> {
        self.sum(rss_quick)
    }

    fn sum(&self, figure: impl Fn(u32) -> Option<u64>) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        self.0.iter().map(|&pid| figure(pid)).sum()
    }
}

/// How long a process' main thread has waited for a processor so far.
pub fn run_queue_ns(pid: u32) -> Option<u64> {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

fn has_any(pid: u32, links: &BTreeSet<String>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| links.contains(target)))
}

fn rss_exact(pid: u32) -> Option<u64> {
    kib_field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Rss:")
}

fn rss_quick(pid: u32) -> Option<u64> {
    kib_field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// A field of the form `Name:   123 kB`, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The inodes of sockets that listen on a port, from a table as `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTENING;
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let processes = Processes::listening_at(listener.local_addr().unwrap());
        assert_eq!(processes.pids(), [std::process::id()]);
        assert!(processes.cpu_ns().unwrap() > 0);
        let (exact, quick) = (processes.rss_bytes().unwrap(), processes.rss_bytes_quick().unwrap());
        assert!(exact > 1 << 20 && exact.abs_diff(quick) < exact, "{exact} {quick}");
    }

    #[test]
    fn nobody_is_no_process() {
        // Bound, so nobody else is given the port, and not listening.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let nobody = Processes::listening_at(socket.local_addr().unwrap().as_socket().unwrap());
        assert!(nobody.is_empty());
        assert_eq!((nobody.cpu_ns(), nobody.rss_bytes()), (None, None));
        assert_eq!(Processes::new(vec![std::process::id(), u32::MAX]).cpu_ns(), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 x
   3: broken";
        assert_eq!(listening_inodes(table, 8080), [111]);
        assert!(listening_inodes("", 8080).is_empty());
    }

    #[test]
    fn sizes_are_in_bytes() {
        assert_eq!(kib_field("Name:\tx\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123 * 1024));
        assert_eq!(kib_field("VmRSS:\t123", "VmRSS:"), None);
    }
}
