//! Every conversation in docs/protocol.md is played to a real gateway, and its answers are as documented.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::http::read_head;
use crate::support::redis::Publisher;
use crate::support::{Client, PATIENCE, Redis, TestGateway, raw, until};
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::config::units::Period;

const PROTOCOL: &str = include_str!("../../docs/protocol.md");

#[tokio::test(flavor = "multi_thread")]
async fn take_place() {
    let redis = Redis::start().await;
    let conversations: Vec<_> = PROTOCOL.split("```").filter(|block| block.contains("\n> {")).collect();
    assert!(conversations.len() >= 11, "{}", conversations.len());
    for conversation in conversations {
        // Each conversation begins with a gateway that has seen no event.
        let gateway = TestGateway::on(&redis, |config| {
            config.events.channel_types = "trade,quote,candle,news,halt,order_book".parse().unwrap();
            config.events.stale_after = Period::from_ms(1);
            config.process.shards = 1;
            config.history.last_value_key = conversation.contains("\nSET ").then(|| "last:trade:".to_owned());
        })
        .await;
        Play::of(&gateway, &redis, conversation).await.perform().await;
    }
}

/// Streams are shown line by line.
#[tokio::test(flavor = "multi_thread")]
async fn streams_come_as_shown() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let conversation = PROTOCOL.split("```").find(|block| block.contains("\n> GET /sse")).expect("a stream");
    let (mut worker, mut published, mut stream) = (redis.publisher().await, 0, None);
    let mut lines = conversation.trim().lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(request) = line.strip_prefix("> ") {
            let more = lines.next_if(|next| next.starts_with("> ")).unwrap_or_default();
            let more = more.strip_prefix("> ").map_or_else(String::new, |line| format!("{line}\r\n"));
            let head = format!("{request} HTTP/1.1\r\nHost: h\r\n{more}\r\n");
            let mut tcp = TcpStream::connect(gateway.addr).await.expect("the gateway listens");
            tcp.write_all(head.as_bytes()).await.expect("the request is taken");
            assert_eq!(read_head(&mut tcp).await.status, 200);
            stream = Some(BufReader::new(tcp).lines());
        } else if let Some(event) = line.strip_prefix("PUBLISH ") {
            let (channel, payload) = event.split_once(' ').expect("a channel and a payload");
            worker.publish_all([(channel.to_owned(), payload.to_owned())].into_iter()).await;
            published += 1;
            gateway.taken(published).await;
            if stream.is_some() {
                // The example ends there, and goes on with another stream.
                stream = None;
            }
        } else if let Some(shown) = line.strip_prefix('<') {
            let heard = stream.as_mut().expect("an open stream").next_line();
            let heard =
                tokio::time::timeout(PATIENCE, heard).await.expect("a line in time").unwrap().unwrap();
            assert_eq!(timeless(&heard), timeless(shown.trim_start()));
        }
    }
}

/// A conversation as it takes place.
struct Play<'p> {
    conversation: &'p str,
    gateway: &'p TestGateway,
    worker: Publisher,
    client: Client,
    /// Reads on while the client doesn't: what has reached it is queued for the client, as both are served by one thread.
    witness: Option<Client>,
    published: u64,
}

impl<'p> Play<'p> {
    async fn of(gateway: &'p TestGateway, redis: &Redis, conversation: &'p str) -> Self {
        let worker = redis.publisher().await;
        let target = conversation.lines().find_map(|line| line.strip_prefix("CONNECT "));
        let (client, witness) = if let Some(target) = target {
            (Client::connect(&format!("ws://{}{target}", gateway.addr)).await, None)
        } else if conversation.contains("PUBLISH …") {
            // The less waits in the kernel, the sooner the gateway finds the client too slow.
            let slow = Client::from_raw(raw::connect(gateway.addr, "/ws", Some(4_096)).await).await;
            (slow, Some(gateway.subscriber(&["*"]).await))
        } else {
            (gateway.client().await, None)
        };
        Self { conversation, gateway, worker, client, witness, published: 0 }
    }

    async fn perform(mut self) {
        let (mut event, mut heard, mut more) = ("", String::new(), false);
        for line in self.conversation.lines() {
            if line == "< …" {
                more = true;
            } else if let Some(shown) = line.strip_prefix("< ") {
                let again = std::mem::take(&mut more).then_some(heard.as_str());
                heard = self.hear(shown, again).await;
            } else if let Some(request) = line.strip_prefix("> ") {
                self.client.send(request).await;
            } else if line == "PUBLISH …" {
                self.publish_until_too_slow(event).await;
            } else if let Some(shown) = line.strip_prefix("PUBLISH ") {
                event = shown;
                self.publish(event, 1).await;
            } else if let Some(shown) = line.strip_prefix("GET ") {
                self.get(shown).await;
            } else if let Some((key, value)) = line.strip_prefix("SET ").and_then(|set| set.split_once(' ')) {
                self.worker.command::<()>(&["SET", key, value]).await;
            }
        }
    }

    /// What comes is what is shown, though `again` may come before it, any number of times.
    async fn hear(&mut self, shown: &str, again: Option<&str>) -> String {
        let shown = timeless(shown);
        loop {
            // Pings come while one waits, so the client's own patience would never end.
            let message = tokio::time::timeout(PATIENCE, self.client.message()).await;
            let heard = match message.unwrap_or_else(|_| panic!("waited in vain for {shown}")) {
                Some(Message::Text(text)) => timeless(&text),
                Some(Message::Close(Some(frame))) => {
                    format!("close {} {}", u16::from(frame.code), frame.reason)
                }
                other => panic!("{other:?} instead of {shown}"),
            };
            if again != Some(&heard) {
                assert_eq!(heard, shown, "in the conversation{}", self.conversation);
                return heard;
            }
        }
    }

    /// A request that stands below an event comes after it.
    async fn publish(&mut self, event: &str, times: u64) {
        let (channel, payload) = event.split_once(' ').expect("a channel and a payload");
        self.worker.publish_all((0..times).map(|_| (channel.to_owned(), payload.to_owned()))).await;
        self.published += times;
        let events = &self.gateway.gateway.state().metrics.ingest.events;
        until("the event to arrive", async || (events.get() == self.published).then_some(())).await;
        if let Some(witness) = &mut self.witness {
            for _ in 0..times {
                assert_eq!(witness.json().await["type"], "trade");
            }
        }
    }

    async fn publish_until_too_slow(&mut self, event: &str) {
        let metrics = &self.gateway.gateway.state().metrics;
        let is_too_slow = || {
            metrics.sum(|shard| &shard.events_skipped) > 0
                || metrics.sum(|shard| &shard.slow_conflated) > 0
                || metrics.sum(|shard| &shard.slow_closed) > 0
        };
        while !is_too_slow() {
            self.publish(event, 500).await;
        }
    }

    /// The answer is in time what is shown, but for what `…` stands for.
    async fn get(&self, shown: &str) {
        let (path, body) = shown.split_once(' ').expect("a path and its answer");
        until(&format!("{path} to answer {body}"), async || {
            let answer = self.gateway.get(path).await;
            let mut rest = answer.body.as_str();
            let has_all = body.split(" … ").all(|part| {
                let found = rest.split_once(part);
                found.inspect(|(_, behind)| rest = behind).is_some()
            });
            (answer.status == 200 && has_all).then_some(())
        })
        .await;
    }
}

/// Numbers of the moment, none of which is nought: how late, how many, how much.
const OF_THE_MOMENT: [&str; 3] = [
    r#""lastEventAgeMs":"#,
    r#""event":"skipped","data":{"symbol":"AAPL","type":"trade","count":"#,
    r#""policy":"conflate","queuedBytes":"#,
];

/// The frame with the numbers of the moment all alike, and the gateway's clock as the page has it. Workers' timestamps,
/// which are shorter there, stay as they are.
fn timeless(frame: &str) -> String {
    let mut parts = frame.split(r#""timestamp":"#);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let stamp = if digits == 13 { "1234567890" } else { &part[..digits] };
        text = format!("{text}\"timestamp\":{stamp}{}", &part[digits..]);
    }
    for name in OF_THE_MOMENT {
        if let Some((before, number)) = text.split_once(name) {
            let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
            let is_nought = number.starts_with('0') && name != OF_THE_MOMENT[0];
            text = format!("{before}{name}{}{after}", if is_nought { "0" } else { "n" });
        }
    }
    text
}
