//! What is deployed, as data: the compose file as a YAML parser reads it, the Dockerfile as `deploy/dry-run` reads it, and
//! the configuration that a gateway has in them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use ws_gateway::config::Config;

/// A path of the repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program in the repository, which must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output =
        command.current_dir(root("")).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, said.0, said.1);
    output
}

/// The compose file with its merge keys applied.
pub(crate) fn compose() -> Value {
    let mut yaml: serde_norway::Value = serde_norway::from_str(&read("docker-compose.ws.yml")).expect("YAML");
    yaml.apply_merge().expect("merge keys of mappings");
    serde_json::to_value(yaml).expect("text keys")
}

/// The stages of the Dockerfile, as `deploy/dry-run` reads them.
pub(crate) fn dockerfile() -> Vec<Value> {
    let listed = run(Command::new("python3").args(["deploy/dry-run", "--list"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    listed["stages"].as_array().expect("stages").clone()
}

/// One stage of the Dockerfile.
pub(crate) fn stage(name: &str) -> Value {
    dockerfile().into_iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("stage {name}"))
}

/// The arguments of each instruction of that name.
pub(crate) fn instructions(stage: &Value, name: &str) -> Vec<String> {
    let all = stage["instructions"].as_array().expect("instructions").iter();
    let named = all.filter(|instruction| instruction[0] == name);
    named.map(|instruction| instruction[1].as_str().expect("text").to_owned()).collect()
}

/// A list of texts.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect()
}

/// A time as Compose, Docker and nginx write it here: `5s`, `1h`, `500ms`.
pub(crate) fn time(text: &str) -> Duration {
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
pub(crate) fn gateway_environment() -> Vec<(String, String)> {
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
pub(crate) fn gateway_config(args: &[&str]) -> Config {
    let environment = gateway_environment();
    let lookup = |name: &str| {
        environment.iter().find(|(known, _)| known == name).map(|(_, value)| OsString::from(value))
    };
    let limit = compose()["services"]["gateway"]["ulimits"]["nofile"]["soft"].as_u64().expect("a number");
    Config::resolve([&["ws-gateway"], args].concat(), lookup, None, limit).expect("a good configuration")
}
