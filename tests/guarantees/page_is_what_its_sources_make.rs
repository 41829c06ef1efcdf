//! The page that the gateway embeds is what `web/src` and the pinned tools make, to the byte, and the page's parts pass their own tests.

use crate::support::package::check;

#[tokio::test]
async fn the_page_is_built_as_it_is_kept() {
    check("web/check", &[]).await;
}

/// Waits until the packages that the page is built and looked at with are there.
pub(crate) async fn installed() {
    check("web/check", &["--install"]).await;
}
