//! The README's lines for an app of one's own work as printed: typed in an empty folder beside a clone of the clients, with the demo running, they
//! bring prices, in JavaScript and in Python.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::process::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Of an app's code, without empty ones.
const LINES_MAX: usize = 10;

/// What the README prints for one language: the lines for a shell, and the code.
struct Printed<'a> {
    install: &'a str,
    code: &'a str,
}

impl<'a> Printed<'a> {
    fn of(readme: &'a str, language: &str) -> Self {
        let (_, section) = readme.split_once("\n## Show them in your app\n").expect("the section");
        let (before, rest) = section.split_once(&format!("\n```{language}\n")).expect("code");
        let (_, install) = before.rsplit_once("```sh\n").expect("lines for a shell");
        let (code, _) = rest.split_once("\n```\n").expect("an end");
        Self { install: install.trim_end_matches('`').trim_end(), code }
    }

    /// The file's name and the command, as the first line of the code says them.
    fn named(&self) -> (&'a str, &'a str) {
        let first = self.code.lines().next().expect("a line");
        let words = first.trim_start_matches(['/', '#', ' ']);
        words.split_once("; run: ").expect("a name, and how it is run")
    }
}

/// A clone of this repository, of which the lines need the clients: what is kept in git, without what checks have built.
async fn clone_beside(directory: &Path) {
    let copy = format!(
        "git ls-files -z clients | xargs -0 cp --parents --target-directory '{}'",
        directory.display()
    );
    shell(&format!("mkdir '{0}' && {copy}", directory.display()), Path::new(ROOT)).await;
}

/// Types lines into a shell; all of them have to succeed.
async fn shell(lines: &str, directory: &Path) {
    let typed = Command::new("sh").args(["-ec", lines]).current_dir(directory).kill_on_drop(true).output();
    let output = typed.await.expect("sh");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{lines}\n{said}");
}

async fn prices_come(language: &str) {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README");
    let printed = Printed::of(&readme, language);
    let code_lines = printed.code.lines().skip(1).filter(|line| !line.is_empty()).count();
    assert!(code_lines <= LINES_MAX, "{code_lines} lines");
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let dir = TempDir::new().expect("a temporary directory");
    clone_beside(&dir.path().join("ws-gateway")).await;
    let app = dir.path().join("app");
    std::fs::create_dir(&app).expect("an empty folder");
    shell(printed.install, &app).await;

    let (name, command) = printed.named();
    // Other tests run on this machine, so the gateway has another port than for a reader.
    let code = printed.code.replace("localhost:8080", &gateway.addr().to_string());
    assert_ne!(code, printed.code);
    std::fs::write(app.join(name), code).expect("a file");
    let mut program = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .current_dir(&app)
        // Into a pipe Python would write when a block is full.
        .env("PYTHONUNBUFFERED", "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("sh");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    let is_price =
        |line: &String| line.strip_prefix("AAPL ").is_some_and(|price| price.parse::<f64>().is_ok());
    while !seen.iter().any(is_price) || !seen.iter().any(|line| line == "open live") {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").expect("text");
        seen.push(line.unwrap_or_else(|| panic!("it ended after {seen:?}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_javascript_bring_prices() {
    prices_come("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_python_bring_prices() {
    prices_come("python").await;
}
