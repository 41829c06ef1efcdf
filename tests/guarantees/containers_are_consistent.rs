//! What the image, the compose file and nginx' configuration say agrees with the gateway and with each other. No Docker is
//! needed: the compose file is read by a YAML parser and checked against the Compose Specification's own schema, the
//! Dockerfile by `deploy/dry-run`, and values are given to those who take them.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::Redis;
use crate::support::nginx::{deployed, directives};
use crate::support::process::Process;
use serde_json::Value;
use ws_gateway::config::{Action, Config, SETTINGS};
use ws_gateway::limits;

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn run(command: &mut Command) -> Output {
    let output =
        command.current_dir(root("")).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, said.0, said.1);
    output
}

/// The compose file with its merge keys applied.
fn compose() -> Value {
    let mut yaml: serde_norway::Value = serde_norway::from_str(&read("docker-compose.ws.yml")).expect("YAML");
    yaml.apply_merge().expect("merge keys of mappings");
    serde_json::to_value(yaml).expect("text keys")
}

/// The stages of the Dockerfile, as `deploy/dry-run` reads them.
fn dockerfile() -> Vec<Value> {
    let listed = run(Command::new("python3").args(["deploy/dry-run", "--list"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    listed["stages"].as_array().expect("stages").clone()
}

fn stage(name: &str) -> Value {
    dockerfile().into_iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("stage {name}"))
}

/// The arguments of each instruction of that name.
fn instructions(stage: &Value, name: &str) -> Vec<String> {
    let all = stage["instructions"].as_array().expect("instructions").iter();
    let named = all.filter(|instruction| instruction[0] == name);
    named.map(|instruction| instruction[1].as_str().expect("text").to_owned()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

/// A time as Compose, Docker and nginx write it here: `5s`, `1h`, `500ms`.
fn time(text: &str) -> Duration {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or_else(|| panic!("no unit: {text}"));
    let number: u64 = text[..split].parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    match &text[split..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        "h" => Duration::from_secs(3600 * number),
        _ => panic!("unit of {text}"),
    }
}

/// The image's environment with the compose file's over it.
fn gateway_environment() -> Vec<(String, String)> {
    let image = instructions(&stage("gateway"), "ENV");
    let image = image.iter().flat_map(|line| line.split_whitespace());
    let image = image.map(|pair| pair.split_once('=').unwrap_or_else(|| panic!("{pair}")));
    let mut environment: Vec<_> = image.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in compose()["services"]["gateway"]["environment"].as_object().expect("a mapping") {
        environment.retain(|(known, _)| known != name);
        environment.push((name.clone(), value.as_str().expect("text").to_owned()));
    }
    environment
}

/// The gateway's configuration in a container of the compose file.
fn gateway_config(args: &[&str]) -> Config {
    let environment = gateway_environment();
    let lookup = |name: &str| {
        environment.iter().find(|(known, _)| known == name).map(|(_, value)| OsString::from(value))
    };
    let limit = compose()["services"]["gateway"]["ulimits"]["nofile"]["soft"].as_u64().expect("a number");
    Config::resolve([&["ws-gateway"], args].concat(), lookup, limit).expect("a good configuration")
}

#[test]
fn the_compose_file_is_one() {
    let python = run(Command::new("tests/guarantees/support/py-env").arg("check-jsonschema==0.39.0"));
    let python = String::from_utf8(python.stdout).expect("a path");
    run(Command::new(python.trim()).args([
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.ws.yml",
    ]));
}

#[test]
fn every_variable_is_a_setting_and_every_value_is_allowed() {
    for (name, _) in gateway_environment() {
        assert!(SETTINGS.iter().any(|setting| setting.env == name), "{name} is no setting");
    }
    let config = gateway_config(&[]);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.listen.ip().is_unspecified(), "reachable from outside of the container");
    let redis = compose()["services"]["redis"].clone();
    assert!(redis.is_object() && config.upstream.to_string().starts_with("redis://redis:6379/"));

    // The publisher's settings are in another crate.
    let options = read("tools/src/publisher.rs");
    for name in compose()["services"]["publisher"]["environment"].as_object().expect("a mapping").keys() {
        assert!(options.contains(&format!("env = \"{name}\"")), "{name} is no setting of the publisher");
    }
}

#[test]
fn ports_and_targets_agree() {
    let (compose, image) = (compose(), stage("gateway"));
    let port = gateway_config(&[]).listen.port().to_string();
    assert_eq!(instructions(&image, "EXPOSE"), [port.as_str()]);
    assert_eq!(texts(&compose["services"]["gateway"]["expose"]), [port.as_str()]);
    let [server] = &directives(&deployed("upstream.conf"), "server")[..] else { panic!("one server") };
    assert_eq!(server[0], format!("gateway:{port}"));

    let [listen] = &directives(&deployed("listen.conf"), "listen")[..] else { panic!("one listen") };
    let published = texts(&compose["services"]["nginx"]["ports"]);
    assert_eq!(published, [format!("8080:{}", listen[0])]);
    let check = texts(&compose["services"]["nginx"]["healthcheck"]["test"]);
    let asked = format!("http://127.0.0.1:{}/nginx/health", listen[0]);
    assert!(check.contains(&asked.as_str()), "{check:?}");

    for service in ["gateway", "publisher"] {
        let build = &compose["services"][service]["build"];
        assert_eq!(
            (build["context"].as_str(), build["dockerfile"].as_str()),
            (Some("."), Some("Dockerfile.ws"))
        );
        let target = stage(build["target"].as_str().expect("a target"));
        assert_eq!(
            instructions(&target, "USER"),
            [compose["services"][service]["user"].as_str().expect("text")]
        );
    }
    assert_eq!(
        dockerfile().last().expect("a stage")["name"],
        "gateway",
        "what `docker build` gives by default"
    );
}

#[test]
fn every_path_exists_and_reaches_the_build() {
    let (mut copies, mut stages) = (0, Vec::new());
    for stage in dockerfile() {
        for copy in stage["copies"].as_array().expect("a list") {
            let source = copy["source"].as_str().expect("text");
            assert!(root(source).exists(), "COPY {source}");
            assert!(!texts(&copy["files"]).is_empty(), "{source} is kept out by .dockerignore");
            copies += 1;
        }
        for from in instructions(&stage, "COPY").iter().filter_map(|copy| copy.strip_prefix("--from=")) {
            let from = from.split(' ').next().expect("a stage").to_owned();
            assert!(stages.contains(&from), "--from={from}");
        }
        stages.push(stage["name"].as_str().expect("text").to_owned());
    }
    assert!(copies >= 5);
    let compose = compose();
    let volumes = texts(&compose["services"]["nginx"]["volumes"]);
    let command = texts(&compose["services"]["nginx"]["command"]);
    let [volume] = volumes[..] else { panic!("{volumes:?}") };
    let [here, there, "ro"] = volume.split(':').collect::<Vec<_>>()[..] else { panic!("{volume}") };
    let config =
        command.iter().find_map(|arg| arg.strip_prefix(there)).expect("a configuration in the volume");
    assert!(root(here).join(config.trim_start_matches('/')).is_file(), "{config}");
    for include in directives(&deployed("nginx.conf"), "include") {
        assert!(root(here).join(&include[0]).is_file(), "{include:?}");
    }
}

#[test]
fn the_image_builds_from_what_it_is_given() {
    // Every step but the compiler's: cargo reads the manifests, the sources beside them and the lock file.
    run(Command::new("python3").args(["deploy/dry-run", "--without-compiling"]));
    let manifest = read("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("rust-version");
    assert_eq!(stage("manifests")["base"], format!("rust:{}-bookworm", rust.trim_matches('"')));
}

#[test]
fn times_are_longer_than_what_they_wait_for() {
    let (config, compose, nginx) = (gateway_config(&[]), compose(), deployed("nginx.conf"));
    let grace =
        |service: &str| time(compose["services"][service]["stop_grace_period"].as_str().expect("a time"));
    let last_words = config.drain_timeout + limits::TASKS_END_TIMEOUT;
    assert!(grace("gateway") > last_words, "the gateway ends by itself");
    assert!(grace("nginx") > grace("gateway"), "nginx goes when the gateways have said goodbye");
    let directive = |name: &str| time(&directives(&nginx, name)[0][0]);
    // A gateway's ping is as late as its timing wheel, and its network.
    let margin = Duration::from_secs(10);
    assert!(directive("proxy_read_timeout") >= config.ping_interval + margin);
    assert!(directive("send_timeout") >= config.stall_timeout);
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

    let kept_back = 65_536 - gateway_config(&[]).max_connections;
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

#[test]
fn every_directive_is_explained() {
    let page = read("docs/deployment.md");
    for file in ["nginx.conf", "listen.conf", "upstream.conf"] {
        let config = deployed(file);
        let lines = config.lines().map(str::trim).filter(|line| line.ends_with(';'));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        let names = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        for name in names.filter(|name| !name.ends_with("_temp_path")) {
            assert!(page.contains(name), "{name} of {file} in docs/deployment.md");
        }
    }
}

#[test]
fn no_service_has_more_than_it_needs() {
    let compose = compose();
    let services = compose["services"].as_object().expect("a mapping");
    assert_eq!(services.len(), 4);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        let user = service["user"].as_str().unwrap_or_else(|| panic!("{name} is root"));
        assert!(!user.starts_with("0") && !user.starts_with("root"), "{name}: {user}");
        assert_eq!(service.get("ports").is_some(), name == "nginx", "{name}: nginx is the only way in");
        assert!(service.get("container_name").is_none(), "{name} may be scaled");
    }
    assert_eq!(compose["services"]["gateway"]["deploy"]["replicas"], 3);
    assert_eq!(compose["networks"]["feed"]["internal"], true);
    assert!(!texts(&compose["services"]["nginx"]["networks"]).contains(&"feed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_takes_its_command_and_its_health_is_told() {
    let compose = compose();
    let redis = &compose["services"]["redis"];
    let command = texts(&redis["command"]);
    assert_eq!(command[0], "redis-server");
    let server = Redis::start_with(&command[1..]).await;
    let limits: Vec<String> =
        server.publisher().await.command(&["CONFIG", "GET", "client-output-buffer-limit"]).await;
    assert!(limits[1].contains("pubsub 33554432 8388608 60"), "{limits:?}");

    let ["CMD-SHELL", check] = texts(&redis["healthcheck"]["test"])[..] else { panic!("{redis}") };
    let check = check.replace("redis-cli", &format!("redis-cli -p {}", server.port));
    run(Command::new("/bin/sh").args(["-c", &check]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_tells_a_gateway_that_works_from_one_that_does_not() {
    let image = stage("gateway");
    let [check] = &instructions(&image, "HEALTHCHECK")[..] else { panic!("one health check") };
    let command = check.split_once("CMD ").expect("CMD").1;
    let command: Vec<String> = serde_json::from_str(command).expect("the form that needs no shell");
    let entrypoint: Vec<String> =
        serde_json::from_str(&instructions(&image, "ENTRYPOINT")[0]).expect("a list");
    assert_eq!(command[0], entrypoint[0]);
    let args: Vec<_> = command[1..].iter().map(String::as_str).collect();
    assert_eq!(gateway_config(&args).action, Action::Healthcheck);

    let mut gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let port = gateway.port.to_string();
    let healthy = || {
        let mut ask = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        ask.args(&args).env("WS_HOST", "0.0.0.0").env("WS_PORT", &port);
        ask.status().expect("the binary runs").success()
    };
    assert!(healthy());
    gateway.signal("KILL");
    gateway.exit().await;
    assert!(!healthy());
}
