//! Every Rust file belongs to a library or a program. One that no `mod` names is compiled, linted and tested by nobody, and nobody is told.

use std::path::{Path, PathBuf};

/// Folders whose files are programs each, as Cargo finds them.
const PROGRAMS: [&str; 5] = ["tests", "benches", "examples", "bin", "fuzz_targets"];

/// What is built or downloaded.
const NOT_OURS: [&str; 3] = ["target", "node_modules", ".git"];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() && !NOT_OURS.contains(&name.as_ref()) {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether the file's text has the module, or names the file as one.
fn declares(file: &Path, module: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let declaration = format!("mod {module};");
    text.lines().map(str::trim).any(|line| {
        let visibility = line.strip_suffix(&declaration);
        let path = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"));
        visibility.is_some_and(|visibility| visibility.is_empty() || visibility.starts_with("pub"))
            || path.is_some_and(|path| name_of(Path::new(path)) == module)
    })
}

/// Whether the file is a program or a library, or a module of one beside it or above it.
fn is_compiled(file: &Path) -> bool {
    let folder = file.parent().expect("a folder");
    let (mut name, mut above) = (name_of(file), folder);
    if matches!(name.as_str(), "lib" | "main" | "build") || PROGRAMS.contains(&name_of(folder).as_str()) {
        return true;
    }
    if name == "mod" {
        (name, above) = (name_of(folder), folder.parent().expect("a folder"));
    }
    let beside = ["mod.rs", "lib.rs", "main.rs"].map(|parent| above.join(parent));
    let mut parents = beside.into_iter().chain([above.with_extension("rs")]);
    // Tests that stand in a file of their own, beside what they test.
    let subject = name.strip_suffix("_tests").map(|subject| above.join(format!("{subject}.rs")));
    parents.any(|parent| declares(&parent, &name)) || subject.is_some_and(|subject| declares(&subject, &name))
}

#[test]
fn by_a_library_or_a_program() {
    let mut files = Vec::new();
    rust_files(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    assert!(files.len() > 500, "{} files", files.len());
    let lost: Vec<_> = files.iter().filter(|file| !is_compiled(file)).collect();
    assert!(lost.is_empty(), "no mod names them: {lost:#?}");
}

#[test]
fn a_lost_file_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(&path, text).expect("it is written");
        path
    };
    write("src/lib.rs", "pub mod known;\nmod unknown_things;\n");
    write("src/known.rs", "#[cfg(test)]\n#[path = \"known_tests.rs\"]\nmod tests;\nmod part;\n");
    for (name, is_known) in [
        ("src/known.rs", true),
        ("src/known_tests.rs", true),
        ("src/known/part.rs", true),
        ("src/unknown.rs", false),
        ("src/known/another.rs", false),
        ("tests/program.rs", true),
        ("tests/program/lost.rs", false),
    ] {
        let path = folder.path().join(name);
        let path = if path.exists() { path } else { write(name, "") };
        assert_eq!(is_compiled(&path), is_known, "{name}");
    }
}
