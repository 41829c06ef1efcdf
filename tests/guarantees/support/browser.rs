//! The live page in headless Chromium.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::program::{Program, node};

/// What a page holds once what nothing holds has been collected.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    pub(crate) heap_bytes: i64,
    /// Of its documents, those that are in no tree too.
    pub(crate) nodes: i64,
}

/// A browser with one page, see `support/browser.js`.
pub(crate) struct Browser {
    program: Program,
    /// Profile and temporary files.
    _dir: TempDir,
}

impl Browser {
    /// Opens the page of a gateway, as somebody who has never been there.
    pub(crate) async fn open(gateway: &Process) -> Self {
        Self::open_at(&format!("http://{}/", gateway.addr())).await
    }

    pub(crate) async fn open_at(url: &str) -> Self {
        let mut browser = Self::start().await;
        browser.act(json!({"do": "goto", "at": url})).await;
        browser
    }

    /// A browser that is nowhere yet.
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut script = node("browser.js").await;
        script.arg(dir.path().join("profile")).env("TMPDIR", dir.path());
        // For modules that start gateways.
        script.env("WS_GATEWAY", env!("CARGO_BIN_EXE_ws-gateway"));
        Self { program: Program::start(script), _dir: dir }
    }

    pub(crate) async fn act(&mut self, command: Value) -> Value {
        self.program.say(&command.to_string()).await;
        let answer = self.program.json().await;
        assert!(answer.get("error").is_none(), "{command}: {}", answer["error"].as_str().unwrap_or_default());
        answer["answer"].clone()
    }

    /// What an expression is in the page, or what it resolves to.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.act(json!({"do": "evaluate", "with": expression})).await
    }

    pub(crate) async fn click(&mut self, selector: &str) {
        self.act(json!({"do": "click", "at": selector})).await;
    }

    pub(crate) async fn press(&mut self, key: &str) {
        self.act(json!({"do": "press", "with": key})).await;
    }

    pub(crate) async fn size(&mut self, width: u32, height: u32) {
        self.act(json!({"do": "size", "with": [width, height]})).await;
    }

    /// Waits until an element says so, and returns all that it says.
    pub(crate) async fn until(&mut self, selector: &str, says: &str) -> String {
        let text = self.act(json!({"do": "until", "at": selector, "with": says})).await;
        text.as_str().expect("text").to_owned()
    }

    /// Waits until the row of a symbol says so.
    pub(crate) async fn until_row(&mut self, symbol: &str, says: &str) -> String {
        self.until(&format!("#rows li[data-symbol='{symbol}']"), says).await
    }

    /// Waits until the row of a symbol shows a price.
    pub(crate) async fn until_traded(&mut self, symbol: &str) {
        self.until_row(symbol, "%").await;
    }

    /// Waits until the tab has that title.
    pub(crate) async fn until_title(&mut self, title: &str) {
        let is_so = format!("document.title === {}", json!(title));
        let look = format!(
            "new Promise((done) => {{ const look = () => {is_so} ? done() : setTimeout(look, 50); look(); }})"
        );
        self.evaluate(&look).await;
    }

    /// Subscribes to symbols, as they are typed.
    pub(crate) async fn add(&mut self, symbols: &str) {
        self.act(json!({"do": "fill", "at": "#symbols", "with": symbols})).await;
        self.act(json!({"do": "click", "at": "#form button"})).await;
    }

    pub(crate) async fn unsubscribe(&mut self, symbol: &str) {
        self.act(json!({"do": "click", "at": format!("[aria-label='Unsubscribe from {symbol}']")})).await;
        self.until_no_row(symbol).await;
    }

    pub(crate) async fn until_no_row(&mut self, symbol: &str) {
        self.act(json!({"do": "untilGone", "at": format!("#rows li[data-symbol='{symbol}']")})).await;
    }

    /// Enters a token where the page asks for one.
    pub(crate) async fn enter_token(&mut self, token: &str) {
        self.act(json!({"do": "fill", "at": "#token", "with": token})).await;
        self.act(json!({"do": "click", "at": "#token-form button"})).await;
    }

    /// Waits until the page asks for no token.
    pub(crate) async fn until_not_asked(&mut self) {
        self.act(json!({"do": "untilGone", "at": "#token-form:visible"})).await;
    }

    /// Shows a symbol at large.
    pub(crate) async fn select(&mut self, symbol: &str) {
        self.act(json!({"do": "click", "at": format!("#rows li[data-symbol='{symbol}'] .pick")})).await;
        self.until("#chosen", symbol).await;
    }

    /// Waits until a fact of the selected symbol is so.
    pub(crate) async fn until_fact(&mut self, fact: &str, says: &str) -> String {
        self.until(&format!("[data-fact={fact}]"), says).await
    }

    pub(crate) async fn texts(&mut self, selector: &str) -> Vec<String> {
        let texts = self.act(json!({"do": "texts", "at": selector})).await;
        serde_json::from_value(texts).expect("texts")
    }

    pub(crate) async fn symbols(&mut self) -> Vec<String> {
        self.texts("#rows .symbol").await
    }

    /// The trades that the page has counted of the selected symbol.
    pub(crate) async fn trades(&mut self) -> u64 {
        self.texts("[data-fact=trades]").await[0].replace(',', "").parse().expect("a number")
    }

    /// Begins to count frames and paints, see `support/frames.js`.
    pub(crate) async fn watch_frames(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guarantees/support/frames.js");
        self.act(json!({"do": "run", "at": script})).await;
    }

    /// What the page holds. Watched frames that this delays are told apart.
    pub(crate) async fn memory(&mut self) -> Memory {
        self.evaluate("window.look(true)").await;
        let memory = self.act(json!({"do": "memory"})).await;
        self.evaluate("window.look(false)").await;
        serde_json::from_value(memory).expect("memory")
    }

    pub(crate) async fn picture(&mut self, name: &str) {
        if let Ok(directory) = std::env::var("PAGE_SCREENSHOTS") {
            self.act(json!({"do": "screenshot", "at": format!("{directory}/{name}.png")})).await;
        }
    }
}
