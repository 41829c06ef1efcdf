//! Whatever a client of a dialect asks for, half of it valid or not, lists that mix symbols with wildcards and with what is no symbol: a refused request
//! changes nothing, a granted one all that it names, and the client gets each event of what it holds, once. A model knows what it holds.

use std::collections::BTreeSet;

use crate::support::ways::{Subscriber, Told, Way, told_by, told_in};
use crate::support::{Redis, TestGateway, trade};
use serde_json::{Value, json};
use ws_gateway::protocol::api::Api;

const STEPS: u64 = 60;
/// A quote is in no symbol, and a star in none of Binance's streams.
const NAMES: [&str; 6] = ["A", "B", "AB", "A*", "*", "no\"ne"];
const SYMBOLS: [&str; 4] = ["A", "B", "AB", "C"];
/// What every client holds all the time: its event is the last of each step.
const END: &str = "END";

fn is_bad(way: Way, name: &str) -> bool {
    name.contains('"') || (way == Way::Binance && name.contains('*'))
}

/// The requests of a step: several where the dialect has one symbol in each.
fn requests(way: Way, verb: &str, names: &[&str]) -> Vec<String> {
    let each = |write: &dyn Fn(&str) -> String| names.iter().map(|name| write(name)).collect::<Vec<_>>();
    match way {
        Way::AlpacaJson | Way::AlpacaMsgpack => vec![json!({"action": verb, "trades": names}).to_string()],
        Way::Massive => {
            let channels = each(&|name| format!("T.{name}")).join(",");
            vec![json!({"action": verb, "params": channels}).to_string()]
        }
        Way::Finnhub => each(&|name| json!({"type": verb, "symbol": name}).to_string()),
        Way::Binance => {
            let streams = each(&|name| format!("{}@trade", name.to_lowercase()));
            vec![json!({"method": verb.to_uppercase(), "params": streams, "id": 2}).to_string()]
        }
        Way::SocketIo => vec![format!("42/events,2{}", json!([verb, {"symbols": names}]))],
        other => unreachable!("{other:?} is no dialect"),
    }
}

/// A request that is answered by this part and no other is.
fn barrier(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::AlpacaJson | Way::AlpacaMsgpack => {
            (r#"{"action":"subscribe","lulds":["A"]}"#, "This gateway carries no lulds")
        }
        Way::Massive => (r#"{"action":"subscribe","params":"LULD.A"}"#, "no channel for LULD.A"),
        Way::Finnhub => ("{}", "Missing field type"),
        Way::Binance => (r#"{"method":"GET_PROPERTY","params":["x"],"id":3}"#, "Unknown property"),
        Way::SocketIo => (r#"42/events,3["ping"]"#, "pong"),
        other => unreachable!("{other:?} is no dialect"),
    }
}

/// What is held behind a request, and how many of its requests are refused.
fn apply(way: Way, verb: &str, names: &[&'static str], held: &mut BTreeSet<&'static str>) -> usize {
    let bad = names.iter().filter(|name| is_bad(way, name)).count();
    // Binance's clients leave whatever they like, and Finnhub's names are requests of their own.
    let takes_the_good = way == Way::Finnhub || (way == Way::Binance && verb == "unsubscribe");
    if bad > 0 && !takes_the_good {
        return 1;
    }
    for name in names.iter().filter(|name| !is_bad(way, name)) {
        if verb == "subscribe" {
            held.insert(name)
        } else {
            held.remove(name)
        };
    }
    if way == Way::Finnhub { bad } else { 0 }
}

fn covers(held: &BTreeSet<&str>, symbol: &str) -> bool {
    held.iter()
        .any(|name| name.strip_suffix('*').map_or(*name == symbol, |prefix| symbol.starts_with(prefix)))
}

fn is_refusal(answer: &Value) -> bool {
    let text = answer.to_string();
    text.contains("error") || text.contains(r#""code":2"#)
}

async fn by_the_model(way: Way) {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.clients.dialects = Api::ALL.into_iter().collect()).await;
    let mut worker = redis.publisher().await;
    let mut client = Subscriber::enter(way, gateway.addr, &[END.to_owned()], "", None).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut held = BTreeSet::new();
    // What comes up to the answer to the barrier; no event of the step before is behind its last one.
    let answers = async |client: &mut Subscriber| {
        let (last, answered) = barrier(way);
        client.send_text(last).await;
        let mut answers = Vec::new();
        loop {
            let answer = client.message().await;
            if answer.to_string().contains(answered) {
                return answers;
            }
            let told = told_in(&answer);
            assert!(told.is_empty(), "{way:?}: {told:?} came again");
            answers.push(answer);
        }
    };
    for step in 0..STEPS {
        let verb = if random.bool() { "subscribe" } else { "unsubscribe" };
        let count = random.usize(1..4);
        let names = random.choose_multiple(NAMES.iter().copied(), count);
        let refused = apply(way, verb, &names, &mut held);
        for request in requests(way, verb, &names) {
            client.send_text(&request).await;
        }
        let refusals = answers(&mut client).await.iter().filter(|answer| is_refusal(answer)).count();
        assert_eq!(refusals, refused, "{way:?}, step {step}: {verb} {names:?}");
        // A turn's answers are written before its figures are.
        gateway.subscribed(held.len() as u64 + 1).await;

        let events = SYMBOLS
            .iter()
            .chain([&END])
            .map(|symbol| ((*symbol).to_owned(), trade(symbol, &(step + 1).to_string(), step)));
        worker.trades(events).await;
        let mut got = Vec::new();
        while got.last().is_none_or(|symbol| symbol != END) {
            for told in told_by(&client.message().await) {
                let Told::Trade { symbol, price } = told else { panic!("{way:?}: {told:?}") };
                assert_eq!(price, (step + 1) as f64, "{way:?}: nothing of before");
                got.push(symbol);
            }
        }
        let expected = SYMBOLS.iter().filter(|symbol| covers(&held, symbol)).chain([&END]);
        assert!(got.iter().eq(expected), "{way:?}, step {step}: {got:?} with {held:?} held");
    }
    answers(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca() {
    by_the_model(Way::AlpacaJson).await;
    by_the_model(Way::AlpacaMsgpack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn massive() {
    by_the_model(Way::Massive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finnhub() {
    by_the_model(Way::Finnhub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binance() {
    by_the_model(Way::Binance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio() {
    by_the_model(Way::SocketIo).await;
}
