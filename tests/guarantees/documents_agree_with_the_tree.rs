//! The README stays short; links between the documents lead to existing pages and headings; the rules in
//! `docs/invariants.md` and the promises in `docs/security.md` name existing files and tests; and each fuzz target has seeds.

use std::path::{Path, PathBuf};

const README_LINES_MAX: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<PathBuf> {
    let in_folder = |folder: &str| std::fs::read_dir(root().join(folder)).expect("a folder");
    let docs = in_folder("docs").chain(in_folder("docs/dialects")).chain(in_folder("docs/desk"));
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    let pages = docs.chain(top.map(|page| root().join(page)));
    pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The heading as the anchor that GitHub gives it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines");
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let headings = read(&target);
                let headings = headings.lines().filter_map(|line| line.strip_prefix('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|anchor| anchor == heading), "{}: no heading for {link}", page.display());
            }
        }
    }
    assert!(links > 20, "{links}");
}

#[test]
fn promises_name_the_tests_that_show_them() {
    let page = read(&root().join("docs/security.md"));
    let sections: Vec<_> = page
        .split("\n## ")
        .filter(|section| {
            section.lines().next().is_some_and(|title| title.ends_with(", sentence by sentence"))
        })
        .collect();
    assert_eq!(sections.len(), 2, "tokens, and limits");
    sections.into_iter().for_each(promises_are_shown);
}

fn promises_are_shown(section: &str) {
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut promises = 0;
    for row in rows {
        let Some((promise, tests)) = row.rsplit_once(" | ").filter(|(_, tests)| tests.contains('`')) else {
            continue;
        };
        promises += 1;
        for test in tests.split('`').skip(1).step_by(2) {
            let Some((file, function)) = test.split_once("::") else {
                let code = read(&root().join("src").join(test));
                assert!(code.contains("#[test]") || code.contains("#[tokio::test"), "{promise}: {test}");
                continue;
            };
            let places = ["tests/guarantees/", "tests/hostile/"].map(|place| root().join(place).join(file));
            let place =
                places.map(|place| place.with_extension("rs")).into_iter().find(|place| place.exists());
            let code = read(&place.unwrap_or_else(|| panic!("{promise}: no file of {test}")));
            assert!(code.contains(&format!("fn {function}()")), "{promise}: {test}");
        }
    }
    assert!(promises > 30, "{promises}");
}

#[test]
fn invariants_name_what_is_there() {
    let page = read(&root().join("docs/invariants.md"));
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.split(" | ").collect())
        .collect();
    assert!(rows.len() > 20, "{}", rows.len());
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    for row in rows {
        let [_, places, tests] = row.as_slice() else { panic!("three cells: {row:?}") };
        for place in quoted(places).iter().flat_map(|place| without_braces(place)) {
            let path = root().join("src").join(&place);
            assert!(path.exists() || path.with_extension("rs").exists(), "no src/{place}");
        }
        for test in quoted(tests) {
            let places = [
                "tests/guarantees/",
                "tests/hostile/",
                "tests/",
                "fuzz/fuzz_targets/",
                "benches/",
                "src/fanout/shard/",
            ];
            let is_there = |place: &&str| root().join(place).join(format!("{test}.rs")).exists();
            let is_bench = ["fan_out", "handover"].contains(&test.as_str())
                || test.contains(": ")
                || test.contains(", ");
            assert!(is_bench || places.iter().any(is_there), "no test {test}");
        }
    }
}

/// A replay of a target without seeds would show nothing.
#[test]
fn fuzz_targets_have_seeds() {
    let entries = |folder: &str| std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut targets = 0;
    for entry in entries("fuzz/fuzz_targets") {
        let target = entry.expect("an entry").path().with_extension("");
        let target = target.file_name().expect("a name").to_string_lossy().into_owned();
        let seeds = std::fs::read_dir(root().join("fuzz/seeds").join(&target));
        assert!(seeds.is_ok_and(|seeds| seeds.count() > 0), "fuzz/seeds/{target}");
        targets += 1;
    }
    assert!(targets > 10, "{targets}");
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn without_braces(place: &str) -> Vec<String> {
    let Some((before, rest)) = place.split_once('{') else { return vec![place.to_owned()] };
    let (inside, after) = rest.split_once('}').expect("a closing brace");
    inside.split(',').map(|part| format!("{before}{part}{after}")).collect()
}
