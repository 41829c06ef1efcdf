//! No secret of the configuration is ever printed: not by `--print-config`, not in a log, not in the line about a bad
//! value.

use crate::support::settings::{refusal, resolve};

#[test]
fn secrets_are_never_printed() {
    const SECRET: &str = "hunter2";
    let url = format!("redis://{SECRET}:{SECRET}@localhost/1");
    let config = resolve(&[], &[("REDIS_URL", &url)]).unwrap();
    let embedded = resolve(&[], &[("EMBEDDED_REDIS_PASSWORD", SECRET)]).unwrap();
    let key = resolve(&[], &[("JWT_SECRET_KEY", &SECRET.repeat(5))]).unwrap();
    assert!(key.show().contains("JWT_SECRET_KEY=***"));
    let operator = resolve(&[], &[("OPS_PORT", "9100"), ("OPS_TOKEN", &SECRET.repeat(5))]).unwrap();
    assert!(operator.show().contains("OPS_TOKEN=***"));
    for text in [
        config.show(),
        format!("{config:?}"),
        embedded.show(),
        format!("{embedded:?}"),
        key.show(),
        format!("{key:?}"),
        operator.show(),
        format!("{operator:?}"),
    ] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(embedded.show().contains("EMBEDDED_REDIS_PASSWORD=***"));
    let line = refusal(&[], &[("JWT_SECRET_KEY", SECRET)]);
    assert!(line.contains("JWT_SECRET_KEY") && !line.contains(SECRET), "{line}");
    for bad in [
        format!("redis://:{SECRET}@host:port"),
        format!("{SECRET}@h"),
        format!("unix:///s?pass={SECRET}&db=x"),
    ] {
        let line = refusal(&[], &[("REDIS_URL", &bad)]);
        assert!(line.contains("REDIS_URL") && !line.contains(SECRET), "{line}");
    }
}
