//! Finds out from which address a client connects. Pure.
//!
//! Behind a proxy the socket's peer is the proxy, which names its client in a PROXY header or in header fields of the request. Anybody
//! can write these, so they count only if they come from an address in `TRUSTED_PROXIES`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub mod proxy_header;

/// `TRUSTED_PROXIES`: addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads a comma-separated list of addresses and networks (`10.0.0.5, 172.16.0.0/12, fd00::/8`), at least one. `None` if there is
    /// anything else in it.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from)).ok();
        let networks: Vec<IpNet> = parts.map(network).collect::<Option<_>>()?;
        (!networks.is_empty()).then(|| Self(networks.iter().map(IpNet::trunc).collect()))
    }

    /// Whether what a peer at that address says of its client is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As [`Proxies::parse`] reads it.
impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if network.prefix_len() == network.max_prefix_len() {
                write!(f, "{comma}{}", network.addr())?;
            } else {
                write!(f, "{comma}{network}")?;
            }
        }
        Ok(())
    }
}

/// What a request says of the client that a proxy sent it for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded<'r> {
    /// The lines of `X-Forwarded-For`, in their order: lists to whose end each proxy adds the address that it was asked by.
    pub for_lines: Vec<&'r str>,
    /// `X-Real-IP`.
    pub real_ip: Option<&'r str>,
}

impl Forwarded<'_> {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.for_lines.is_empty() && self.real_ip.is_none()
    }

    /// The client's address, where the request came from `peer`. If that is trusted, it is the rightmost address of `X-Forwarded-For`
    /// that is not: what stands further left comes from somebody who isn't believed. If there is none, it is `X-Real-IP`, or else `peer`.
    pub fn client(&self, peer: IpAddr, proxies: &Proxies) -> IpAddr {
        let peer = peer.to_canonical();
        if !proxies.trust(peer) {
            return peer;
        }
        self.rightmost_untrusted(proxies).or_else(|| self.real_ip.and_then(address)).unwrap_or(peer)
    }

    fn rightmost_untrusted(&self, proxies: &Proxies) -> Option<IpAddr> {
        let parts = self.for_lines.iter().rev().flat_map(|line| line.rsplit(','));
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            // What is no address ends the search: nobody knows who wrote what stands further left.
            let address = address(part)?;
            if !proxies.trust(address) {
                return Some(address);
            }
        }
        None
    }
}

/// An address as proxies write it: plain, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The addresses that count as one towards limits: an IPv4 address, or a /64 of IPv6, which one customer has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Network(u64);

impl Network {
    /// IPv4 addresses stand among the /64s of 0:ffff::/32: that is reserved (RFC 4291), so no client connects from there.
    const IPV4: u64 = 0xffff << 32;
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(Self::IPV4 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = Proxies::parse("10.0.0.5, 172.16.9.9/12,fd00::/8,::1").unwrap();
        assert_eq!(proxies.to_string(), "10.0.0.5,172.16.0.0/12,fd00::/8,::1");
        assert_eq!(Proxies::parse(&proxies.to_string()), Some(proxies.clone()));
        for trusted in ["10.0.0.5", "::ffff:10.0.0.5", "172.31.255.255", "fd12::1", "::1"] {
            assert!(proxies.trust(ip(trusted)), "{trusted}");
        }
        for other in ["10.0.0.6", "172.32.0.0", "fe80::1", "127.0.0.1"] {
            assert!(!proxies.trust(ip(other)), "{other}");
        }
        assert!(Proxies::default().is_empty() && !Proxies::default().trust(ip("127.0.0.1")));
        for bad in ["", " , ", "0", "10.0.0", "10.0.0.0/33", "example.com", "10.0.0.1:80", "*"] {
            assert_eq!(Proxies::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        let proxies = Proxies::parse("10.0.0.0/8,fd00::/8").unwrap();
        let client = |peer, lines: &[&'static str], real_ip| {
            let forwarded = Forwarded { for_lines: lines.to_vec(), real_ip };
            forwarded.client(ip(peer), &proxies).to_string()
        };
        for (peer, lines, real_ip, expected) in [
            ("10.1.1.1", &["203.0.113.7"][..], None, "203.0.113.7"),
            ("::ffff:10.1.1.1", &["1.1.1.1, 203.0.113.7"], Some("9.9.9.9"), "203.0.113.7"),
            ("10.1.1.1", &["1.1.1.1, 203.0.113.7 ,10.2.2.2,, fd00::1 "], None, "203.0.113.7"),
            ("10.1.1.1", &["1.1.1.1", "203.0.113.7", "10.2.2.2"], None, "203.0.113.7"),
            ("10.1.1.1", &["203.0.113.7:4711"], None, "203.0.113.7"),
            ("10.1.1.1", &["[2001:db8::7]:4711"], None, "2001:db8::7"),
            ("10.1.1.1", &["[2001:db8::7]"], None, "2001:db8::7"),
            ("10.1.1.1", &["::ffff:203.0.113.7"], None, "203.0.113.7"),
            ("10.1.1.1", &["1.1.1.1, unknown"], Some("203.0.113.7"), "203.0.113.7"),
            ("10.1.1.1", &["10.2.2.2"], Some("203.0.113.7"), "203.0.113.7"),
            ("10.1.1.1", &[], Some(" 203.0.113.7"), "10.1.1.1"),
            ("10.1.1.1", &[], Some("nobody"), "10.1.1.1"),
            ("10.1.1.1", &["10.2.2.2"], None, "10.1.1.1"),
            ("192.0.2.1", &["203.0.113.7"], Some("203.0.113.7"), "192.0.2.1"),
        ] {
            assert_eq!(client(peer, lines, real_ip), expected, "{peer} {lines:?} {real_ip:?}");
        }
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_ipv4_by_the_address() {
        let network = |text| Network::from(ip(text));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("0.0.0.1"), network("::1"));
    }
}
