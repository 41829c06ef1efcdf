//! On a Redis Cluster all gateways publish over the same node, whichever node their `REDIS_URL` names: the one that has slot 0. A cluster passes what
//! one node is told to all nodes in that order, so there is one order for all members of a room. What two nodes are told has none.

use crate::ingest::redis::dial::Address;
use crate::ingest::redis::error::RedisError;
use crate::ingest::redis::session::Session;
use crate::limits;
use crate::resp::{Reply, ReplyLimits, write_command};

/// A line for each node.
const LIMITS: ReplyLimits = ReplyLimits {
    total_bytes_max: limits::CLUSTER_NODES_BYTES,
    bulk_bytes_max: limits::CLUSTER_NODES_BYTES,
    ..ReplyLimits::DEFAULT
};

/// The node to publish over, if it is another one than `here`, to which the session is.
///
/// # Errors
/// The connection can't be used any more.
pub(super) async fn node_to_publish(
    session: &mut Session,
    here: &Address,
) -> Result<Option<Address>, RedisError> {
    let mut request = Vec::new();
    write_command(&mut request, &[b"CLUSTER", b"NODES"]);
    session.send("CLUSTER NODES", &request).await?;
    // An error says that it is no cluster, or that an ACL doesn't let us know.
    let read = |reply: Reply<'_>| match reply {
        Reply::Bulk(text) | Reply::Verbatim { text, .. } => elsewhere(&String::from_utf8_lossy(text), here),
        _ => None,
    };
    session.reply("CLUSTER NODES", &LIMITS, read).await
}

/// The node that has slot 0, unless it is the one that has answered.
fn elsewhere(nodes: &str, here: &Address) -> Option<Address> {
    let mut lines = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let has_slot_0 = |slot: &&str| *slot == "0" || slot.starts_with("0-");
    let line = lines.find(|line| line.get(8..).is_some_and(|slots| slots.iter().any(has_slot_0)))?;
    if line[2].split(',').any(|flag| flag == "myself") {
        return None;
    }
    // `10.0.0.2:6379@16379,node-2.test`: the port behind `@` is the cluster's own.
    let (place, names) = line[1].split_once('@')?;
    let (host, port) = place.rsplit_once(':')?;
    let name = names.split(',').nth(1).filter(|name| !name.is_empty() && !name.contains('='));
    let (own_host, tls) = match here {
        Address::Tcp { host, tls, .. } => (Some(host.as_str()), *tls),
        Address::Unix(_) => (None, false),
    };
    // Certificates are for names.
    let host = match (name.filter(|_| tls), host) {
        (Some(name), _) => name,
        (None, "") => own_host?,
        (None, host) => host,
    };
    Some(Address::Tcp { host: host.to_owned(), port: port.parse().ok()?, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
07c37d 10.0.0.4:6379@16379,node-4.test slave e7d1ee 0 1426238317239 4 connected
67ed2d 10.0.0.2:6379@16379 master - 0 1426238316232 2 connected 5461-10922
e7d1ee fd00::1:6380@16380 master - 0 1426238318243 1 connected 0-5460
6ec239 :6379@16379 myself,master - 0 0 3 connected 10923-16383 [93-<-292f8b]
";

    #[test]
    fn it_is_the_one_that_has_slot_0() {
        let tcp = |host: &str, port, tls| Address::Tcp { host: host.to_owned(), port, tls };
        let here = tcp("redis.test", 6379, true);
        assert_eq!(elsewhere(NODES, &here), Some(tcp("fd00::1", 6380, true)));
        assert_eq!(elsewhere(NODES, &Address::Unix("/redis.sock".into())), Some(tcp("fd00::1", 6380, false)));
        let unnamed = NODES.replace("fd00::1:6380@", ":6380@");
        assert_eq!(elsewhere(&unnamed, &here), Some(tcp("redis.test", 6380, true)));
        let single = NODES.replace("0-5460", "1-5460").replace("5461-10922", "0 5461-10922");
        assert_eq!(elsewhere(&single, &here), Some(tcp("10.0.0.2", 6379, true)));
        for (listed, with_tls, without) in [
            ("@16380,node-1.test", "node-1.test", "fd00::1"),
            ("@16380,,shard-id=1", "fd00::1", "fd00::1"),
            ("@16380,shard-id=1", "fd00::1", "fd00::1"),
        ] {
            let named = NODES.replace("@16380", listed);
            assert_eq!(elsewhere(&named, &here), Some(tcp(with_tls, 6380, true)));
            assert_eq!(elsewhere(&named, &tcp("redis.test", 6379, false)), Some(tcp(without, 6380, false)));
        }
        // Itself, or none at all.
        let own = NODES.replace("0-5460", "1-5460").replace("10923-16383", "0 10923-16383");
        for none in [own.as_str(), "", "x", "6ec239 :x@1 master - 0 0 3 connected 0-16383"] {
            assert_eq!(elsewhere(none, &here), None, "{none}");
        }
    }
}
