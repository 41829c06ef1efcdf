//! The Python client does what the behaviour table says, with a scripted server and with the gateway as users run it; its README, its
//! types and its lints are tested with it.

use crate::support::package::check;

#[tokio::test]
async fn the_package_passes_its_own_tests() {
    check("clients/python/check", &[]).await;
}
