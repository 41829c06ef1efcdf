//! The desk on a Redis Cluster, whichever node each gateway and each worker is connected to: rooms have one order, people and workers reach each other,
//! and what needs keys of many slots is refused.

use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::desk::OfflineQueue;

use crate::support::cluster::{Node, cluster};
use crate::support::desk::{gateway, user};
use crate::support::{Client, TestGateway, until};

/// Messages that each member says.
const SAID: usize = 100;

/// A gateway on each of the nodes.
async fn gateways(nodes: &[Node]) -> Vec<TestGateway> {
    let mut gateways = Vec::new();
    for node in nodes {
        gateways.push(gateway(&node.redis, |config| config.desk.requests = true).await);
    }
    gateways
}

/// A user on each of the gateways.
async fn users(gateways: &[TestGateway]) -> Vec<Client> {
    let mut users = Vec::new();
    for (n, gateway) in gateways.iter().enumerate() {
        users.push(user(gateway.addr, &format!("user-{n}")).await);
    }
    users
}

/// Says so much in the room, as fast as it is taken, and returns what it has heard there.
async fn talks(mut client: Client, members: usize) -> (Client, Vec<Value>) {
    for n in 0..SAID {
        client.write("r", json!(n)).await;
    }
    let mut heard = Vec::new();
    while heard.len() < members * SAID {
        let mut frame = client.next_of("room_message").await;
        heard.push(json!([frame["from"].take(), frame["message"].take()]));
    }
    (client, heard)
}

async fn everything_works(count: u16) {
    let mut nodes = cluster(count).await;
    let gateways = gateways(&nodes).await;
    let mut users = users(&gateways).await;
    for client in &mut users {
        client.join("r").await;
    }
    let members = users.len();
    until("all to know of each other", async || {
        let (presence, _) = users[0].ask_for("presence", json!({"room_id": "r"})).await;
        (presence["count"] == members).then_some(())
    })
    .await;

    // One order.
    let talking: Vec<_> = users.into_iter().map(|client| tokio::spawn(talks(client, members))).collect();
    let mut users = Vec::new();
    let mut orders = Vec::new();
    for each in talking {
        let (client, heard) = each.await.expect("it has heard all");
        users.push(client);
        orders.push(heard);
    }
    assert!(orders.iter().all(|heard| *heard == orders[0]), "all members heard the same order");

    // From one user to another, and from workers on any node.
    let last = members - 1;
    users[0].ask("chat", json!({"to": format!("user-{last}"), "message": "hi"})).await;
    assert_eq!(users[last].next_of("chat").await["message"], "hi");
    for node in &mut nodes {
        node.connection.raw("channel:room:r", br#"{"type":"told"}"#).await;
        for client in &mut users {
            client.next_of("told").await;
        }
    }
    for node in &mut nodes {
        node.connection.raw(&format!("channel:user:user-{last}"), br#"{"type":"told_alone"}"#).await;
        users[last].next_of("told_alone").await;
    }
    users[last].ask("leave_room", json!({"room_id": "r"})).await;
    assert_eq!(users[0].next_of("user_left").await["user_id"], format!("user-{last}"));

    // A worker on the last node answers a client of the first gateway.
    let mut worker =
        crate::support::resp::Client::connect(([127, 0, 0, 1], nodes[last].redis.port).into()).await;
    worker.ask("SUBSCRIBE channel:request").await;
    users[0].send(r#"{"type":"request","requestId":"1","payload":{}}"#).await;
    let question = worker.message().await;
    let response = br#"{"type":"response","requestId":"1","payload":7}"#;
    nodes[last].connection.raw(question["replyTo"].as_str().unwrap(), response).await;
    assert_eq!(users[0].next_of("response").await["payload"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_nodes() {
    everything_works(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_node() {
    everything_works(1).await;
}

/// The connections that gateways publish over, on a node.
async fn publishers(node: &mut Node) -> usize {
    let list: String = node.connection.command(&["CLIENT", "LIST"]).await;
    list.lines().filter(|line| line.contains(" cmd=publish ") || line.contains(" cmd=cluster|nodes ")).count()
}

/// When the second of two nodes gets slot 0, the gateways of both publish over that one, and nothing that people say meanwhile is lost without a word.
async fn is_followed(mut nodes: Vec<Node>, moves: impl AsyncFnOnce(&mut [Node])) {
    let gateways = gateways(&nodes).await;
    let mut users = users(&gateways).await;
    for client in &mut users {
        client.join("r").await;
    }
    until("all to publish over the first", async || {
        (publishers(&mut nodes[0]).await == 2 && publishers(&mut nodes[1]).await == 0).then_some(())
    })
    .await;
    moves(&mut nodes).await;
    until("all to have left the old node", async || {
        let (reply, _) = users[0].ask_for("typing", json!({"room_id": "r"})).await;
        let is_known = reply["type"] == "success" || reply["code"] == "UNAVAILABLE";
        assert!(is_known, "{reply}");
        (publishers(&mut nodes[0]).await == 0 && publishers(&mut nodes[1]).await == 2).then_some(())
    })
    .await;
    for n in 0..2 {
        until("its gateway to publish", async || {
            let payload = json!({"room_id": "r", "message": "new"});
            (users[n].ask_for("room_message", payload).await.0["type"] == "success").then_some(())
        })
        .await;
        assert_eq!(users[1 - n].next_of("room_message").await["message"], "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slot_0_moves() {
    is_followed(cluster(2).await, async |nodes| {
        let target: String = nodes[1].connection.command(&["CLUSTER", "MYID"]).await;
        for node in nodes.iter_mut().rev() {
            let () = node.connection.command(&["CLUSTER", "SETSLOT", "0", "NODE", &target]).await;
        }
    })
    .await;
}

/// The old node stays, takes `PUBLISH` as before, and is no longer the one.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over() {
    let mut nodes = cluster(1).await;
    let replica = nodes[0].replica().await;
    nodes.push(replica);
    is_followed(nodes, async |nodes| {
        let () = nodes[1].connection.command(&["CLUSTER", "FAILOVER"]).await;
    })
    .await;
}

/// Inboxes are keys of many slots: a chat is refused if another node has the user's inbox, and also if another one counts the bytes of all. The sender is told.
#[tokio::test(flavor = "multi_thread")]
async fn inboxes_are_refused() {
    let mut nodes = cluster(2).await;
    let gateway = gateway(&nodes[1].redis, |config| {
        config.desk.offline_queue =
            Some(OfflineQueue { entries: 100, keep: Duration::from_secs(7 * 24 * 3_600) });
    })
    .await;
    assert!(nodes[0].slot("channel:inboxes").await >= 8_192, "the other node counts");
    let mut alice = user(gateway.addr, "alice").await;
    for is_elsewhere in [true, false] {
        let mut name = String::new();
        for n in 0.. {
            name = format!("user-{n}");
            if (nodes[0].slot(&format!("channel:inbox:{name}")).await >= 8_192) == is_elsewhere {
                break;
            }
        }
        let mut recipient = user(gateway.addr, &name).await;
        let inbox = format!("channel:inbox:{name}");
        if !is_elsewhere {
            until("the user to be known", async || {
                let is_there: bool = nodes[0].connection.command(&["EXISTS", &inbox]).await;
                is_there.then_some(())
            })
            .await;
        }
        let (reply, _) = alice.ask_for("chat", json!({"to": name, "message": "hi"})).await;
        assert_eq!(reply["code"], "UNAVAILABLE", "{reply}");
        recipient.gets_nothing().await;
        if !is_elsewhere {
            until("it to be deleted", async || {
                let kept: u64 = nodes[0].connection.command(&["XLEN", &inbox]).await;
                (kept == 0).then_some(())
            })
            .await;
        }
        // All else works beside it.
        alice.join(&name).await;
        recipient.join(&name).await;
        alice.write(&name, json!("hi")).await;
        assert_eq!(recipient.next_of("room_message").await["message"], "hi");
    }
}
