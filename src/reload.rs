//! Watches files that are read again while the gateway runs: when one of them changes, and on SIGHUP.
//!
//! The content of the files is compared, not their times: a mounted secret is replaced by changing a link, and a copy may keep the
//! old time. A change counts once two looks in a row have seen the same content. So files that are written one after the other are
//! read when both are complete.

use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::limits::{KEY_FILE_MAX_BYTES, RELOAD_LOOK_INTERVAL};

/// Files, and their content at the last look.
#[derive(Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    changes: Changes,
}

impl Watched {
    /// Watches these files from now on. Blocks while it reads them.
    pub fn now(files: Vec<PathBuf>) -> Self {
        let changes = Changes::new(content(&files));
        Self { files, changes }
    }

    /// Calls `reload` when the files have changed and whenever `asked` changes, until `ending` is cancelled. `reload` reads the files
    /// and may block.
    pub async fn reload(
        mut self,
        reload: impl Fn() + Send + Sync + 'static,
        mut asked: watch::Receiver<()>,
        ending: CancellationToken,
    ) {
        let reload = Arc::new(reload);
        loop {
            let is_asked = tokio::select! {
                biased;
                () = ending.cancelled() => return,
                Ok(()) = asked.changed() => true,
                () = tokio::time::sleep(RELOAD_LOOK_INTERVAL) => false,
            };
            let files = self.files.clone();
            let Ok(seen) = spawn_blocking(move || content(&files)).await else { continue };
            if is_asked {
                self.changes.take(seen);
            } else if !self.changes.are_settled(seen) {
                continue;
            }
            let reload = Arc::clone(&reload);
            // A panic in `reload` has been logged, and the files will be looked at again.
            let _ = spawn_blocking(move || reload()).await;
        }
    }
}

/// A hash of the files' content. A hash, because they may hold keys.
type Content = u64;

/// The content that has been read, and that of the last look. Pure.
#[derive(Debug)]
struct Changes {
    taken: Content,
    seen: Content,
}

impl Changes {
    const fn new(content: Content) -> Self {
        Self { taken: content, seen: content }
    }

    /// Notes that the current content is being read.
    const fn take(&mut self, now: Content) {
        (self.taken, self.seen) = (now, now);
    }

    /// Whether the current content is new and was there at the last look too. If so, it counts as read.
    fn are_settled(&mut self, now: Content) -> bool {
        let is_settled = now == self.seen && now != self.taken;
        self.seen = now;
        if is_settled {
            self.taken = now;
        }
        is_settled
    }
}

/// The content of the files. That of a file that can't be read differs from every other.
fn content(files: &[PathBuf]) -> Content {
    let mut hasher = std::hash::DefaultHasher::new();
    for file in files {
        let bytes = bytes(file);
        hasher.write_u64(bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64));
        hasher.write(&bytes.unwrap_or_default());
    }
    hasher.finish()
}

fn bytes(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file).ok()?.take(KEY_FILE_MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_when_it_has_settled() {
        let mut changes = Changes::new(1);
        assert!(!changes.are_settled(1));
        assert!(!changes.are_settled(2), "a file has changed, and another may be about to");
        assert!(!changes.are_settled(3));
        assert!(changes.are_settled(3));
        assert!(!changes.are_settled(3), "it has been read");
        assert!(!changes.are_settled(1));
        assert!(changes.are_settled(1), "the old content is a change as well");
        changes.take(4);
        assert!(!changes.are_settled(4), "it was asked for");
    }

    #[test]
    fn the_content_of_the_files_decides() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a"), "one").unwrap();
        std::fs::write(path("b"), "two").unwrap();
        let looks = [vec![path("a")], vec![path("b")], vec![path("missing")], vec![path("a"), path("b")]];
        let mut contents = looks.map(|files| content(&files));
        contents.sort_unstable();
        assert!(contents.windows(2).all(|pair| pair[0] != pair[1]), "{contents:?}");
        std::fs::write(path("b"), "one").unwrap();
        assert_eq!(content(&[path("a")]), content(&[path("b")]), "whatever their names");
    }
}
