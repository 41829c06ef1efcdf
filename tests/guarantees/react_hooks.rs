//! The React hooks of `clients/js` with React itself, in a browser: a component is in its room for as long as it is mounted, gets what is written
//! there and who is there, talks with a user, gets notifications; and what belongs to another room or symbol is never shown for its own.

use serde_json::json;

use crate::support::process::Process;
use crate::support::program::{Program, node};

#[tokio::test(flavor = "multi_thread")]
async fn rooms_talks_notifications_and_prices_are_values_of_components() {
    crate::clients_js::installed().await;
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo", "--desk"]).await;
    let mut script = node("react_hooks.js").await;
    script.arg(gateway.addr().to_string()).arg(gateway.broker_addr().port().to_string());
    let found = Program::start(script).json().await;
    assert_eq!(
        found,
        json!({
            "users": 2,
            "kept": ["two", "three"],
            "typing": [],
            "mineIsFromAlice": true,
            "talk": ["Hi!", "Hi Bob!"],
            "notes": [{"type": "maintenance"}],
            "inTheDen": [],
            "refused": ["INVALID_INPUT", false],
            "toARefusedRoom": "INVALID_INPUT",
            "mixed": [],
            "errors": [],
        })
    );
}
