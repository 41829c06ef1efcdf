//! On a Redis Cluster all gateways publish over the same node, whichever node their `REDIS_URL` names: the one that has slot 0. A cluster passes what
//! one node is told to all nodes in that order, so there is one order for all members of a room. Messages published over two nodes have no common order.
//!
//! A node is published over once it says of itself that it has slot 0, or can't say who has, and until it names another: it is asked again every
//! [`limits::CLUSTER_ASK`].

use thiserror::Error;

use crate::ingest::redis::Server;
use crate::ingest::redis::dial::{Address, Dialer};
use crate::ingest::redis::error::{RedisError, Words};
use crate::ingest::redis::session::Session;
use crate::limits;
use crate::resp::{Reply, ReplyLimits, write_command};

/// Asks a node which has which slots.
pub(super) const QUESTION: &[&[u8]] = &[b"CLUSTER", b"NODES"];
const STEP: &str = "CLUSTER NODES";

/// A line for each node.
const LIMITS: ReplyLimits = ReplyLimits {
    total_bytes_max: limits::CLUSTER_NODES_BYTES,
    bulk_bytes_max: limits::CLUSTER_NODES_BYTES,
    ..ReplyLimits::DEFAULT
};

/// Why there is no connection to publish over.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// The server of `REDIS_URL`.
    #[error(transparent)]
    Server(RedisError),
    /// Another node.
    #[error(
        "{node}: {error} (the node with slot 0, as CLUSTER NODES names it; see cluster-announce-hostname, cluster-announce-ip)"
    )]
    Node { node: Address, error: RedisError },
    /// Each names another one.
    #[error("the nodes of the cluster don't agree on which of them has slot 0")]
    Disagree,
}

/// Opens connections to the node to publish over.
pub(super) struct Way<'s> {
    server: &'s Server,
    home: Dialer,
    /// To the last node that another has named.
    there: Option<Dialer>,
    /// The log says that an ACL keeps us from knowing.
    has_warned: bool,
}

/// A connection to the node to publish over.
pub(super) struct Opened {
    pub(super) session: Session,
    /// Its address, if it is a node of a cluster.
    pub(super) node: Option<Address>,
}

impl<'s> Way<'s> {
    pub(super) fn new(server: &'s Server) -> Self {
        let home = server.dialer(server.address.clone());
        Self { server, home, there: None, has_warned: false }
    }

    /// Connects to the server of `REDIS_URL`, and from there to the node that has slot 0.
    pub(super) async fn open(&mut self) -> Result<Opened, OpenError> {
        let Server { login, client_name, .. } = self.server;
        let (mut node, mut is_home) = (self.server.address.clone(), true);
        for _ in 0..limits::CLUSTER_HOPS {
            let dialer = match &mut self.there {
                _ if is_home => &mut self.home,
                Some(there) if *there.address() == node => there,
                there => there.insert(self.server.dialer(node.clone())),
            };
            let opening = async {
                let mut session = Session::open_abortive(dialer, login, client_name).await?;
                dialer.note_success();
                let said = ask(&mut session).await?;
                Ok((session, said))
            };
            let wrap = |error| match is_home {
                true => OpenError::Server(error),
                false => OpenError::Node { node: node.clone(), error },
            };
            let (session, said) = opening.await.map_err(wrap)?;
            match said {
                Ok(nodes) => match elsewhere(&nodes, &node) {
                    Some(next) => (node, is_home) = (next, false),
                    None => return Ok(Opened { session, node: Some(node) }),
                },
                Err(words) => {
                    self.warn(&words);
                    return Ok(Opened { session, node: None });
                }
            }
        }
        Err(OpenError::Disagree)
    }

    /// Redis doesn't say which nodes there are, mostly because it is no cluster.
    fn warn(&mut self, words: &Words) {
        if words.code() == "NOPERM" && !self.has_warned {
            self.has_warned = true;
            let user = self.server.login.user_name();
            tracing::warn!(
                said = %words,
                "CLUSTER NODES refused (ACL SETUSER {user} +cluster|nodes, or on a Cluster rooms have no single order)"
            );
        }
    }
}

/// What a node says of all nodes; an error mostly says that it is no cluster.
async fn ask(session: &mut Session) -> Result<Result<String, Words>, RedisError> {
    let mut request = Vec::new();
    write_command(&mut request, QUESTION);
    session.send(STEP, &request).await?;
    let read = |reply: Reply<'_>| match reply {
        Reply::Bulk(text) | Reply::Verbatim { text, .. } => Ok(String::from_utf8_lossy(text).into_owned()),
        Reply::Error(text) => Err(Words::new(text)),
        _ => Ok(String::new()),
    };
    match session.reply(STEP, &LIMITS, read).await? {
        // Not yet, or not now.
        Err(words) if matches!(words.code(), "LOADING" | "BUSY") => {
            Err(RedisError::Refused { command: STEP, words, advice: None })
        }
        said => Ok(said),
    }
}

/// The node that has slot 0, unless it is `here`, the one that has answered, or can't be known.
pub(super) fn elsewhere(nodes: &str, here: &Address) -> Option<Address> {
    let mut lines = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let has_slot_0 = |slot: &&str| *slot == "0" || slot.starts_with("0-");
    let line = lines.find(|line| line.get(8..).is_some_and(|slots| slots.iter().any(has_slot_0)))?;
    if line[2].split(',').any(|flag| flag == "myself" || flag == "noaddr") {
        return None;
    }
    // `10.0.0.2:6379@16379,node-2.test`: the port behind `@` is the cluster's own.
    let (place, names) = line[1].split_once('@')?;
    let (host, port) = place.rsplit_once(':')?;
    let name = names.split(',').nth(1).filter(|name| !name.is_empty() && !name.contains('='));
    // Certificates are for names.
    let host = match (name, here) {
        (Some(name), Address::Tcp { tls: true, .. }) => name,
        // It hasn't said where it is.
        _ if host.is_empty() => return None,
        _ => host,
    };
    here.other_node(&format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::dial::Resolver;
    use crate::ingest::redis::session::Login;

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
        for none in [
            own.as_str(),
            "",
            "x",
            "6ec239 a:x@1 master - 0 0 3 connected 0-16383",
            "6ec239 :6379@16379 master - 0 0 3 connected 0-16383",
            "6ec239 a:0@0 master - 0 0 3 connected 0-16383",
            "6ec239 :0@0,node-1.test master,noaddr - 0 0 3 connected 0-16383",
        ] {
            assert_eq!(elsewhere(none, &here), None, "{none}");
        }
    }

    /// A node that answers everything with `OK`, and the question about nodes with the text for it.
    async fn serve(listener: TcpListener, said: String) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = said.clone();
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while stream.read_buf(&mut asked).await.unwrap() > 0 {
                    let reply = match asked.ends_with(b"NODES\r\n") {
                        true => said.as_str(),
                        false => "+OK\r\n",
                    };
                    stream.write_all(reply.as_bytes()).await.unwrap();
                    asked.clear();
                }
            });
        }
    }

    /// Nodes of which each says that slot 0 is with the one of that number, and where the first of them leads.
    async fn led(named: &[usize]) -> (Vec<Address>, Result<Opened, OpenError>) {
        let mut listeners = Vec::new();
        for _ in named {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        for (n, (listener, named)) in listeners.into_iter().zip(named).enumerate() {
            let flags = if *named == n { "myself,master" } else { "master" };
            // A port that nobody listens on, where there is no such node.
            let port = ports.get(*named).copied().unwrap_or(1);
            let text = format!("id 127.0.0.1:{port}@1 {flags} - 0 0 1 connected 0-5460\n");
            tokio::spawn(serve(listener, format!("${}\r\n{text}\r\n", text.len())));
        }
        let at = |port| Address::Tcp { host: "127.0.0.1".to_owned(), port, tls: false };
        let addresses: Vec<_> = ports.into_iter().map(at).collect();
        let server = server(&addresses[0]);
        let opened = Way::new(&server).open().await;
        (addresses, opened)
    }

    fn server(address: &Address) -> Server {
        Server {
            address: address.clone(),
            login: Login::default(),
            tls: crate::tls::unchecked_client().unwrap(),
            resolver: Resolver::default(),
            client_name: "gateway".to_owned(),
        }
    }

    #[tokio::test]
    async fn nodes_are_asked_until_one_says_that_it_is_the_one() {
        for (named, expected) in [(&[0][..], 0), (&[1, 1], 1), (&[1, 2, 2], 2), (&[1, 2, 3, 3], 3)] {
            let (addresses, opened) = led(named).await;
            assert_eq!(opened.ok().unwrap().node.as_ref(), Some(&addresses[expected]));
        }
        for (named, expected) in [
            (&[1, 0][..], "the nodes of the cluster don't agree on which of them has slot 0"),
            (&[1, 2, 3, 4, 4], "the nodes of the cluster don't agree on which of them has slot 0"),
            (&[1], "127.0.0.1:1: connect: 127.0.0.1:1: Connection refused"),
        ] {
            let error = led(named).await.1.err().unwrap().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_no_cluster_or_does_not_say_is_published_over() {
        for (said, is_open) in [
            ("-ERR This instance has cluster support disabled\r\n", true),
            ("-NOPERM this user has no permissions to run the 'cluster|nodes' command\r\n", true),
            ("-LOADING Redis is loading the dataset in memory\r\n", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(serve(listener, said.to_owned()));
            let server = server(&Address::Tcp { host: "127.0.0.1".to_owned(), port, tls: false });
            let mut way = Way::new(&server);
            let opened = way.open().await;
            assert_eq!(opened.is_ok(), is_open, "{said}");
            assert!(opened.is_err() || opened.is_ok_and(|opened| opened.node.is_none()));
            assert_eq!(way.has_warned, said.contains("NOPERM"));
        }
    }
}
