//! Every conversation in the README is one that takes place: its requests and events are played to a real gateway, and what
//! comes is what stands there.

mod support;

use support::{PATIENCE, Redis, TestGateway, until};
use ws_gateway::market::EventType;

const README: &str = include_str!("../README.md");

#[tokio::test(flavor = "multi_thread")]
async fn take_place() {
    let redis = Redis::start().await;
    let conversations: Vec<_> = README.split("```").filter(|block| block.contains("\n> {")).collect();
    assert!(conversations.len() >= 7, "{}", conversations.len());
    for conversation in conversations {
        // Each begins anew: with a gateway that has seen nothing.
        let gateway = TestGateway::on(&redis, |config| {
            config.channel_types = EventType::ALL.into_iter().collect();
        })
        .await;
        play(&gateway, &redis, conversation).await;
    }
}

async fn play(gateway: &TestGateway, redis: &Redis, conversation: &str) {
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    let mut published = 0;
    for line in conversation.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            client.send(request).await;
        } else if let Some(shown) = line.strip_prefix("< ") {
            // Pings come while one waits, so the client's own patience would never end.
            let heard = tokio::time::timeout(PATIENCE, client.text()).await;
            let heard = heard.unwrap_or_else(|_| panic!("waited in vain for {shown}"));
            assert_eq!(timeless(&heard), timeless(shown), "in the conversation{conversation}");
        } else if let Some(event) = line.strip_prefix("PUBLISH ") {
            let (channel, payload) = event.split_once(' ').expect("a channel and a payload");
            worker.raw(channel, payload.as_bytes()).await;
            published += 1;
            // A request that stands below an event comes after it.
            let events = &gateway.gateway.state().metrics.ingest.events;
            until("the event to arrive", async || (events.get() == published).then_some(())).await;
        }
    }
}

/// The frame with the numbers of the moment as the README has them: the gateway's clock and the age of the last event.
/// Workers' timestamps, which are shorter there, stay as they are.
fn timeless(frame: &str) -> String {
    let mut parts = frame.split(r#""timestamp":"#);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let stamp = if digits == 13 { "1234567890" } else { &part[..digits] };
        text = format!("{text}\"timestamp\":{stamp}{}", &part[digits..]);
    }
    match text.split_once(r#""lastEventAgeMs":"#) {
        Some((before, after)) => {
            format!("{before}\"lastEventAgeMs\":0{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => text,
    }
}
