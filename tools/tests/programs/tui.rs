//! `ws-client --tui` in a real terminal (`script` makes one), against a real gateway; and the terminal afterwards.

use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tools::tui::screen::Screen;

use crate::common::{PATIENCE, Redis};
use crate::end_to_end::{AAPL, TSLA, gateway, publish};

/// A terminal of 100 columns with a program in it, as an emulator shows it.
struct Terminal {
    child: Child,
    parser: vt100::Parser,
    /// All that was written to the terminal.
    written: Vec<u8>,
}

impl Terminal {
    /// Runs a command, and afterwards says how it ended and how the terminal is set.
    fn start(command: &str) -> Self {
        let program = format!(
            "stty cols 100 rows 30; sh -c 'echo \"pid=$$.\"; exec {command}'; echo \"status=$?.\"; stty -a | grep -oE -- '-?(icanon|echo) '; echo over."
        );
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &program, "/dev/null"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script is a part of Debian's bsdutils");
        Self { child, parser: vt100::Parser::new(30, 100, 0), written: Vec::new() }
    }

    fn client(url: &str) -> Self {
        Self::start(&format!("{} --tui --symbols AAPL --url {url}", env!("CARGO_BIN_EXE_ws-client")))
    }

    fn contents(&self) -> String {
        self.parser.screen().contents()
    }

    /// Reads until the screen shows it.
    async fn until(&mut self, text: &str) {
        self.read_until(text, |terminal| terminal.contents().contains(text)).await;
    }

    async fn read_until(&mut self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let reading = async {
            let mut bytes = [0; 4096];
            while !is_there(self) {
                let read = self.child.stdout.as_mut().unwrap().read(&mut bytes).await.unwrap();
                assert_ne!(read, 0, "it ended without {what:?}:\n{}", self.contents());
                self.parser.process(&bytes[..read]);
                self.written.extend_from_slice(&bytes[..read]);
            }
        };
        let reading = tokio::time::timeout(PATIENCE, reading).await;
        assert!(reading.is_ok(), "no {what:?} within {PATIENCE:?}:\n{}", self.contents());
    }

    async fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// Of the program in the terminal, which may have its screen already.
    async fn pid(&mut self) -> String {
        let pid = |terminal: &Self| {
            let written = String::from_utf8_lossy(&terminal.written).into_owned();
            Some(written.split_once("pid=")?.1.split_once('.')?.0.to_owned())
        };
        self.read_until("pid=", |terminal| pid(terminal).is_some()).await;
        pid(self).unwrap()
    }

    /// The program has ended so, and the terminal is as it was.
    async fn given_back(&mut self, status: &str) -> String {
        self.until(&format!("status={status}.")).await;
        self.until("over.").await;
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", self.contents());
        let contents = self.contents();
        let is_set = |setting: &str| contents.lines().any(|line| line.trim_end() == setting);
        assert!(is_set("icanon") && is_set("echo"), "{contents}");
        contents
    }
}

#[tokio::test]
async fn prices_come_keys_are_taken_and_a_restart_is_told() {
    let redis = Redis::start(&[]).await;
    let first = gateway(&redis, None).await;
    let addr = first.local_addr();
    let mut terminal = Terminal::client(&format!("ws://{addr}/ws"));
    terminal.until("● live").await;
    terminal.until("Successfully subscribed to 1 symbol(s)").await;
    assert!(terminal.parser.screen().alternate_screen());
    publish(&redis, &[AAPL]).await;
    terminal.until("150.250").await;

    terminal.press("atsla\r").await;
    terminal.until("now holding AAPL, TSLA").await;
    publish(&redis, &[TSLA]).await;
    terminal.until(" -0.0").await;
    terminal.press("a\"\r").await;
    terminal.until("a symbol is 1-64 printable").await;
    terminal.press("\x15gd").await;
    terminal.until("now holding TSLA").await;
    terminal.press("?").await;
    terminal.until("keys and columns").await;
    // What was said stays there, however soon the next thing is.
    terminal.press("xn").await;
    terminal.until("── notices").await;

    first.drain().await;
    terminal.until("closed with 1012").await;
    let _second = gateway(&redis, Some(addr)).await;
    terminal.until("back after").await;
    terminal.until("● live").await;
    terminal.press("q").await;
    let said = terminal.given_back("0").await;
    assert!(said.contains("received 2 events; 0 skipped, 0 in gaps"), "{said}");
}

#[tokio::test]
async fn a_signal_and_a_gateway_that_refuses_give_the_terminal_back() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis, None).await;
    let mut terminal = Terminal::client(&format!("ws://{}/ws", gateway.local_addr()));
    let pid = terminal.pid().await;
    terminal.until("● live").await;
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    terminal.given_back("0").await;

    let mut terminal = Terminal::client(&format!("ws://{}/nothing", gateway.local_addr()));
    let said = terminal.given_back("1").await;
    assert!(said.contains("HTTP 404"), "{said}");
}

/// In a terminal of its own, by the test below.
#[test]
#[ignore = "panics on purpose"]
fn a_panic_on_the_screen() {
    let _screen = Screen::take().unwrap();
    panic!("on purpose");
}

#[tokio::test]
async fn a_panic_gives_the_terminal_back_and_is_told() {
    let this = std::env::current_exe().unwrap();
    let test = "tui::a_panic_on_the_screen --exact --ignored --nocapture";
    let mut terminal = Terminal::start(&format!("{} {test}", this.display()));
    terminal.given_back("101").await;
    // The test program goes on writing beside it, so it may not stay on the screen.
    let written = String::from_utf8_lossy(&terminal.written);
    let (on_screen, after) = written.split_once("\x1b[?1049l").expect("it left the other screen");
    assert!(on_screen.contains("\x1b[?1049h") && after.contains("on purpose"), "{written:?}");
}

#[tokio::test]
async fn without_a_terminal_it_says_so() {
    let tool = crate::common::Tool::start(env!("CARGO_BIN_EXE_ws-client"), &["--tui"]);
    let (status, _, stderr) = tool.end().await;
    assert!(status.code() == Some(1) && stderr[0].contains("--tui needs a terminal"), "{stderr:?}");
}
