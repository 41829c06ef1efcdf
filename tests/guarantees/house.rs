//! The rooms under `src/` use each other only as listed here: never in a circle, and never from the data path to the
//! control side. A commit that needs a new edge adds it here and says why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and those that it uses; a room uses only what stands above it, so that there is no circle.
const HOUSE: &str = "
words, pure parts and atomics, for both sides
    accept:
    address:
    backoff:
    escape:
    files:
    market:
    origin:
    rate:
    resp:
    unix_time:
    websocket:
    limits: market
    desk: market
    dial: limits
    tls: files limits
    transport: limits websocket
    protocol: desk market websocket
    metrics: market protocol websocket
    state: metrics
    identity: desk limits market protocol
    bus: desk identity limits market protocol rate transport
the data path, from Redis to a client's socket
    ingest: backoff bus desk dial escape limits market protocol resp state unix_time websocket
    fanout: bus desk identity limits market metrics protocol rate state transport unix_time websocket
    engine: bus fanout ingest state
the control side, which starts, accepts, tells and stops
    admission: address bus identity limits rate
    signals:
    stats: state
    reload: limits
    healthcheck: escape limits tls
    config: address admission files limits market origin protocol rate tls websocket
    logging: config escape limits
    auth: backoff bus config desk dial files identity limits metrics protocol state tls unix_time
    http: accept address admission auth backoff bus config limits logging market metrics origin protocol state tls transport unix_time websocket
    broker: accept backoff ingest limits resp
    demo: ingest market unix_time
    outgoing: backoff bus desk fanout ingest limits market resp state unix_time
    gateway: admission auth broker bus config demo desk dial engine fanout http identity ingest limits market outgoing protocol reload signals state stats tls
";

/// A room of the list.
struct Room {
    name: &'static str,
    side: &'static str,
    uses: Vec<&'static str>,
}

fn rooms() -> Vec<Room> {
    let (mut rooms, mut side) = (Vec::new(), "");
    for line in HOUSE.trim().lines() {
        match line.trim().split_once(':') {
            Some((name, uses)) => rooms.push(Room { name, side, uses: uses.split_whitespace().collect() }),
            None => side = line,
        }
    }
    rooms
}

#[test]
fn rooms_use_each_other_as_listed() {
    let edges_of =
        |room: Room| room.uses.into_iter().map(move |used| (room.name.to_owned(), used.to_owned()));
    let listed: BTreeSet<_> = rooms().into_iter().flat_map(edges_of).collect();
    let found = edges();
    let unlisted: Vec<_> = found.iter().filter(|(edge, _)| !listed.contains(edge)).collect();
    assert!(unlisted.is_empty(), "not listed: {unlisted:#?}");
    let unused: Vec<_> = listed.iter().filter(|edge| !found.contains_key(edge)).collect();
    assert!(unused.is_empty(), "listed, but nobody uses it any more: {unused:?}");
}

#[test]
fn no_circle_and_no_way_from_data_to_control() {
    let mut above = BTreeMap::<_, &str>::new();
    for Room { name, side, uses } in rooms() {
        for used in uses {
            let its_side = above
                .get(used)
                .unwrap_or_else(|| panic!("{name} uses {used}, which does not stand above it"));
            let is_allowed = side.contains("control") || its_side.contains("both") || side == *its_side;
            assert!(is_allowed, "{name} is of \"{side}\", and {used} is of \"{its_side}\"");
        }
        above.insert(name, side);
    }
}

/// Who uses whom, and in which files; code of tests aside.
fn edges() -> BTreeMap<(String, String), BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges = BTreeMap::<_, BTreeSet<_>>::new();
    let mut rooms = BTreeSet::new();
    for file in files(&src) {
        let path = file.strip_prefix(&src).expect("a file under src/");
        let name = path.display().to_string();
        if matches!(name.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        let code = without_tests(&std::fs::read_to_string(&file).expect("a source file"));
        let modules: Vec<_> =
            path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let out = "super::".repeat(modules.len());
        assert!(!code.contains(&out), "{name} leaves its room by {out}");
        for used in named_rooms(&code) {
            if used != modules[0] {
                edges.entry((modules[0].clone(), used)).or_default().insert(name.clone());
            }
        }
        rooms.insert(modules[0].clone());
    }
    let listed = self::rooms().into_iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(rooms, listed, "the rooms under src/ and those listed");
    edges
}

/// The source files, but for those that only tests are made of.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut tests = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            let code = std::fs::read_to_string(&path).expect("a source file");
            let modules = if path.ends_with("src/lib.rs") { dir.to_owned() } else { path.with_extension("") };
            tests.extend(test_modules(&code).map(|module| modules.join(module).with_extension("rs")));
            files.push(path);
        }
    }
    files.retain(|file| !tests.contains(file));
    files
}

/// Modules in files of their own that are only compiled for tests.
fn test_modules(code: &str) -> impl Iterator<Item = &str> {
    let behind = code.split("#[cfg(test)]\n").skip(1);
    behind.filter_map(|code| {
        let item = code.lines().find(|line| !line.trim_start().starts_with("#["))?;
        item.split_once("mod ")?.1.strip_suffix(';')
    })
}

/// The code without comments, up to the tests, which stand last.
fn without_tests(code: &str) -> String {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(crate) mod tests {"];
    let end = tests.iter().filter_map(|start| code.find(start)).min();
    code[..end.unwrap_or(code.len())].to_owned()
}

/// The first parts of all paths that begin with `crate::`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            Some(group) => rooms.extend(first_parts(group)),
            None => rooms.extend([first_part(path)]),
        }
    }
    rooms
}

/// The first parts of the paths in a group, up to the brace that closes it.
fn first_parts(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![first_part(group)];
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(first_part(&group[at + 1..])),
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn first_part(path: &str) -> String {
    path.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let code = "use crate::bus::Entry;\nuse crate::{http, ingest::{link, redis}, state::State,\n};\n// crate::config\nlet x = crate::limits::MIB;\n#[cfg(test)]\nmod tests {\n    use crate::demo;\n}";
    let rooms: Vec<_> = named_rooms(&without_tests(code)).into_iter().collect();
    assert_eq!(rooms, ["bus", "http", "ingest", "limits", "state"]);
    let code = "#[cfg(test)]\nmod model_tests;\n#[cfg(test)]\nfn helper() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod other;";
    assert_eq!(test_modules(code).collect::<Vec<_>>(), ["model_tests", "other"]);
}
