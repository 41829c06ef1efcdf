//! Each setting's row, and so the documents, says what a value of 0 means: off, zero, any free port or refused. Every row
//! is tested.

use std::time::Duration;

use ws_gateway::config::{Config, ConfigError, Setting, Unit, Zero, settings};

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::settings::resolve;
use crate::support::{Client, trade, until};

fn set(setting: &Setting, value: &str) -> Result<Config, ConfigError> {
    resolve(&[], &[(setting.env, value)])
}

/// The setting in effect, as `--print-config` has it.
fn shown(config: &Config, setting: &Setting) -> String {
    let line = config.show().lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == setting.env).then(|| value.to_owned())
    });
    line.expect("every setting is shown")
}

#[test]
fn every_setting_takes_0_as_its_row_says() {
    for setting in settings() {
        let name = setting.env;
        match (setting.zero, set(setting, "0")) {
            (Zero::Refused, Err(error)) => {
                let shown = error.to_string().replace("the value (not shown)", "\"0\"");
                assert!(shown.starts_with(&format!("{name}: \"0\" is not allowed")), "{error}");
            }
            (Zero::Off | Zero::Zero | Zero::AnyFreePort, Ok(config)) => {
                assert_eq!(shown(&config, setting), "0", "{name}");
            }
            (Zero::False, Ok(config)) => assert_eq!(shown(&config, setting), "false", "{name}"),
            (Zero::Text, Ok(config)) => {
                let expected = if matches!(setting.unit, Unit::Secret(_)) { "***" } else { "0" };
                assert_eq!(shown(&config, setting), expected, "{name}");
            }
            (zero, outcome) => panic!("{name}=0 is to be {}, but: {outcome:?}", zero.word()),
        }
    }
}

/// With a unit it is the same: `0s`, `0KiB`.
#[test]
fn a_0_with_a_unit_is_the_same_0() {
    for setting in settings() {
        let value = match setting.unit {
            Unit::Bytes { .. } => "0KiB",
            Unit::Time { .. } => "0s",
            Unit::Number { .. } => "00",
            _ => continue,
        };
        let is_refused = set(setting, value).is_err();
        assert_eq!(is_refused, setting.zero == Zero::Refused, "{}={value}", setting.env);
    }
}

/// An error says what 0 would mean, so that an operator finds out how to turn a feature off.
#[test]
fn errors_say_what_0_would_mean() {
    for setting in settings() {
        let allowed = match setting.zero {
            Zero::Off => ", or 0 (off)",
            Zero::AnyFreePort => ", or 0 (any free port)",
            Zero::Zero => ", or 0",
            Zero::Refused | Zero::False | Zero::Text => continue,
        };
        let error = set(setting, "much").expect_err("a refusal").to_string();
        assert!(error.ends_with(allowed), "{error}");
    }
}

/// What is off is `None`: no part of the gateway sees a number that it must not divide by, wait for or loop on.
#[test]
fn a_setting_that_is_off_has_no_value() {
    let config = resolve(&all_off(), &[]).expect("a configuration");
    assert_eq!(config.delivery.flush_interval, None);
    assert_eq!(config.process.stats_interval, None);
    assert_eq!(config.events.stale_after, None);
    assert_eq!(config.history.last_value_max_topics, None);
    assert_eq!(config.history.replay_events_per_topic, None);
    assert_eq!(config.history.replay_max_bytes, None);
    assert_eq!(config.clients.message_rate_limit, None);
    assert_eq!(config.clients.message_warn_bytes, None);
    assert!(config.addresses.per_ip().are_off());
    assert_eq!(config.process.drain_timeout, Duration::from_secs(10), "zero is no way to turn it off");
}

/// The flags that turn everything off that can be.
fn all_off() -> Vec<&'static str> {
    let flags = settings().filter(|setting| setting.zero == Zero::Off).map(|setting| setting.flag);
    // Leaked, as a test's few bytes may be.
    flags.map(|flag| &*format!("--{flag}=0").leak()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_everything_off_serves_and_keeps_quiet() {
    let mut gateway = Process::start(&[&["--embedded-redis-port", "0"], &all_off()[..]].concat()).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"snapshot":true,"resume":{"AAPL":1}}"#).await;
    let reply = client.json().await;
    assert_eq!(
        (&reply["type"], &reply["data"]["recovered"]["AAPL"]),
        (&"success".into(), &false.into()),
        "{reply}"
    );
    let mut worker = Publisher::connect(&format!("redis://{}", gateway.broker_addr())).await;
    let payload = trade("AAPL", "1", 1);
    worker.trade("AAPL", &payload).await;
    while !client.text().await.contains(&payload) {}

    gateway.signal("TERM");
    until("the end to be logged", async || gateway.has_logged("drained").then_some(())).await;
    assert!(gateway.exit().await.success());
    assert!(!gateway.has_logged("statistics"), "{:?}", gateway.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_of_no_time_waits_for_nobody() {
    let mut gateway = Process::start(&["--embedded-redis-port", "0", "--drain-timeout", "0"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    gateway.signal("TERM");
    // The client reads nothing, and so doesn't answer the close frame.
    assert!(gateway.exit().await.success());
    until("the end to be logged", async || gateway.has_logged("drained").then_some(())).await;
    drop(client);
}
