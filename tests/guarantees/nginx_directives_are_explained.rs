//! The documents explain each directive of the nginx configuration.

use crate::support::deployment::read;
use crate::support::nginx::deployed;

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
