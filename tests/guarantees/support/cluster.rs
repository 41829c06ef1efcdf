//! Nodes of a Redis Cluster.

use super::redis::Publisher;
use super::{Redis, ReservedPort, until};

/// How many slots there are.
pub(crate) const SLOTS: u16 = 16_384;

/// A node.
pub(crate) struct Node {
    pub(crate) redis: Redis,
    pub(crate) connection: Publisher,
    bus_port: ReservedPort,
}

impl Node {
    /// A node without slots.
    pub(crate) async fn start() -> Self {
        let bus_port = ReservedPort::new();
        let redis =
            Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus_port.to_string()]).await;
        let connection = redis.publisher().await;
        Self { redis, connection, bus_port }
    }

    /// Waits until this node knows who has which slot.
    async fn until_whole(&mut self, nodes: usize) {
        until("the cluster to be whole", async || {
            let info: String = self.connection.command(&["CLUSTER", "INFO"]).await;
            let known = format!("cluster_known_nodes:{nodes}\r\n");
            (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
        })
        .await;
    }

    /// A replica of this node, of which the node knows.
    pub(crate) async fn replica(&mut self) -> Self {
        let mut replica = Self::start().await;
        let (port, bus_port) = (replica.redis.port.to_string(), replica.bus_port.to_string());
        let () = self.connection.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]).await;
        let id: String = self.connection.command(&["CLUSTER", "MYID"]).await;
        until("the replica to know the node", async || {
            replica.connection.try_command::<()>(&["CLUSTER", "REPLICATE", &id]).await.ok()
        })
        .await;
        until("the replica to be one", async || {
            let state: String = replica.connection.command(&["INFO", "replication"]).await;
            let slaves: Vec<String> = self.connection.command(&["CLUSTER", "REPLICAS", &id]).await;
            (state.contains("master_link_status:up") && slaves.len() == 1).then_some(())
        })
        .await;
        replica
    }

    /// The slot of a key.
    pub(crate) async fn slot(&mut self, key: &str) -> u16 {
        self.connection.command(&["CLUSTER", "KEYSLOT", key]).await
    }
}

/// A cluster of so many nodes, each of which has an equal part of the slots, in their order.
pub(crate) async fn cluster(count: u16) -> Vec<Node> {
    let mut nodes = Vec::new();
    for n in 0..count {
        let mut node = Node::start().await;
        let (from, to) = (SLOTS / count * n, if n + 1 == count { SLOTS } else { SLOTS / count * (n + 1) });
        let () = node
            .connection
            .command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &(to - 1).to_string()])
            .await;
        // Two nodes that begin with the same epoch would argue.
        let () = node.connection.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await;
        nodes.push(node);
    }
    let (first, others) = nodes.split_first_mut().expect("a node");
    for other in others {
        let (port, bus_port) = (other.redis.port.to_string(), other.bus_port.to_string());
        let () = first.connection.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]).await;
    }
    for node in &mut nodes {
        node.until_whole(usize::from(count)).await;
    }
    nodes
}
