//! The timeouts and limits of a deployment fit: where one part waits for another, it waits longer than the other takes; a
//! limit is larger than those that it contains; and parts end in the right order.

use std::time::Duration;

use ws_gateway::limits;

use crate::support::deployment::{compose, gateway_config, instructions, read, stage, time};
use crate::support::nginx::{deployed, directives};

#[test]
fn times_are_longer_than_what_they_wait_for() {
    let (config, compose, nginx) = (gateway_config(&[]), compose(), deployed("nginx.conf"));
    let grace =
        |service: &str| time(compose["services"][service]["stop_grace_period"].as_str().expect("a time"));
    let last_words = config.process.drain_timeout + limits::TASKS_END_TIMEOUT;
    assert!(grace("gateway") > last_words, "the gateway ends by itself");
    assert!(grace("nginx") > grace("gateway"), "nginx goes when the gateways have said goodbye");
    let directive = |name: &str| time(&directives(&nginx, name)[0][0]);
    // A gateway's ping is as late as its timing wheel, and its network.
    let margin = Duration::from_secs(10);
    assert!(directive("proxy_read_timeout") >= config.delivery.ping_interval + margin);
    assert!(directive("send_timeout") >= config.delivery.stall_timeout);
    assert_eq!(directive("client_header_timeout"), Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS));
    assert!(nginx.contains(&format!("Retry-After {} ", limits::RETRY_AFTER_S)));

    let [check] = &instructions(&stage("gateway"), "HEALTHCHECK")[..] else { panic!("one health check") };
    let timeout =
        check.split_whitespace().find_map(|word| word.strip_prefix("--timeout=")).expect("a timeout");
    // Connecting and answering may take so long each.
    assert!(time(timeout) > 2 * Duration::from_millis(limits::HEALTHCHECK_TIMEOUT_MS));
}

#[test]
fn limits_fit_into_each_other() {
    let (compose, nginx) = (compose(), deployed("nginx.conf"));
    let number = |name: &str| directives(&nginx, name)[0][0].parse::<u64>().expect("a number");
    assert!(number("worker_rlimit_nofile") >= number("worker_connections") + 1024);
    let nofile = &compose["services"]["nginx"]["ulimits"]["nofile"];
    assert!(
        nofile["soft"] == nofile["hard"] && nofile["hard"].as_u64() >= Some(number("worker_rlimit_nofile"))
    );
    let listen = deployed("listen.conf");
    assert!(listen.contains(&format!("backlog={}", limits::LISTEN_BACKLOG)));

    let kept_back = 65_536 - gateway_config(&[]).server.max_connections;
    let read = read("docker-compose.ws.yml");
    let said = format!("{} are kept back", thousands(kept_back));
    assert!(read.contains(&said) && read.contains(&thousands(65_536 - kept_back)), "{said}");
}

/// `1427` as `1,427`.
fn thousands(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn clients_are_told_before_nginx_goes() {
    // Compose ends what depends on a service before that service, and all else at the same time.
    let compose = compose();
    for (name, service) in compose["services"].as_object().expect("a mapping") {
        let depends_on = service["depends_on"].as_object();
        assert!(depends_on.is_none_or(|others| others.keys().all(|other| other == "redis")), "{name}");
    }
    assert_eq!(compose["services"]["nginx"]["stop_signal"], "SIGQUIT");
    assert_eq!(compose["services"]["gateway"]["depends_on"]["redis"]["condition"], "service_healthy");
}
