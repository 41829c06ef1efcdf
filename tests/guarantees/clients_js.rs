//! The JavaScript client does what the behaviour table says, with a scripted server and with the gateway as users run it; its size
//! and its README are tested with it.

use crate::support::package::check;

#[tokio::test]
async fn the_package_passes_its_own_tests() {
    check("clients/js/check", &[]).await;
}

/// Waits until the tools are there that the package is built with.
pub(crate) async fn installed() {
    check("clients/js/check", &["--install"]).await;
}
