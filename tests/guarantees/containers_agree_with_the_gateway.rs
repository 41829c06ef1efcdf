//! Names, ports and paths in the image, the compose file and nginx' configuration agree with the gateway and with each
//! other. The test needs no Docker: it reads the files, and gives their values to the programs that use them.

use std::process::Command;

use ws_gateway::config::settings;

use crate::support::deployment::{
    compose, dockerfile, gateway_config, gateway_environment, instructions, read, root, run, stage, texts,
};
use crate::support::nginx::{deployed, directives};

#[test]
fn every_variable_is_a_setting_and_every_value_is_allowed() {
    for (name, _) in gateway_environment() {
        assert!(settings().any(|setting| setting.env == name), "{name} is no setting");
    }
    let config = gateway_config(&[]);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(config.server.listen.ip().is_unspecified(), "reachable from outside of the container");
    let redis = compose()["services"]["redis"].clone();
    assert!(redis.is_object() && config.upstream.to_string().starts_with("redis://redis:6379/"));

    // The publisher's settings are in another crate.
    let options = read("tools/src/publisher.rs");
    for name in compose()["services"]["publisher"]["environment"].as_object().expect("a mapping").keys() {
        assert!(options.contains(&format!("env = \"{name}\"")), "{name} is no setting of the publisher");
    }
}

/// The network in which the compose file's nginx is, and no other; and the page on deployment says how to name one's own.
#[test]
fn the_proxy_is_trusted_and_nobody_else() {
    let trusted = gateway_environment().into_iter().find(|(name, _)| name == "TRUSTED_PROXIES");
    let compose = compose();
    let edge = &compose["networks"]["edge"]["ipam"]["config"][0]["subnet"];
    assert_eq!(trusted.map(|(_, value)| value).as_deref(), edge.as_str());
    let services = compose["services"].as_object().expect("a mapping");
    let on_edge = services.iter().filter(|(_, service)| texts(&service["networks"]).contains(&"edge"));
    let names: Vec<_> = on_edge.map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["gateway", "nginx"]);
    assert!(read("docs/deployment.md").contains("`TRUSTED_PROXIES="));
}

#[test]
fn ports_and_targets_agree() {
    let (compose, image) = (compose(), stage("gateway"));
    let port = gateway_config(&[]).server.listen.port().to_string();
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
