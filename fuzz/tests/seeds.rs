//! Every fuzz target takes its committed seeds: the same inputs each time, built as everything else is, without nightly and cargo-fuzz.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The files or folders in one, which is named as seen from this package.
fn entries(path: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn are_taken_by_their_targets() {
    let mut failed = Vec::new();
    for source in entries("fuzz_targets") {
        let target = source.file_stem().expect("a name").to_str().expect("UTF-8");
        let seeds = entries(&format!("seeds/{target}"));
        assert!(!seeds.is_empty(), "no seeds for {target}");
        // libFuzzer gives files that are named to the target one by one, and looks for no others.
        let output = Command::new(Path::new(env!("CARGO_BIN_EXE_deflate")).with_file_name(target))
            .args(["-timeout=10", "-rss_limit_mb=2048"])
            .arg(format!("-artifact_prefix={}/", env!("CARGO_TARGET_TMPDIR")))
            .args(&seeds)
            .output()
            .unwrap_or_else(|error| panic!("{target}: {error}"));
        let told = String::from_utf8_lossy(&output.stderr);
        let taken = told.lines().filter(|line| line.starts_with("Executed ")).count();
        if !output.status.success() || taken != seeds.len() {
            failed.push(format!("{target}, {taken} of {} seeds, {}:\n{told}", seeds.len(), output.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
