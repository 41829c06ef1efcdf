//! A file of keys that may be replaced while the gateway runs. What it had last is kept as long as what it has can't be used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;

use crate::files::read_at_most;
use crate::limits::KEY_FILE_MAX_BYTES;

/// Makes keys of a file's bytes.
type Make<T> = Box<dyn Fn(&[u8]) -> anyhow::Result<T> + Send + Sync>;

/// A file, and the keys that were last made of it.
pub struct KeyFile<T> {
    /// The setting that names the file.
    setting: &'static str,
    path: PathBuf,
    make: Make<T>,
    current: RwLock<Arc<T>>,
}

impl<T: 'static> KeyFile<T> {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// When it can't be read or used; the error names the setting and the file.
    pub fn read<E: Into<anyhow::Error> + 'static>(
        setting: &'static str,
        path: PathBuf,
        make: impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let make: Make<T> = Box::new(move |bytes| make(bytes).map_err(Into::into));
        let first = bytes_of(&path).and_then(|bytes| make(&bytes));
        let first = first.with_context(|| format!("{setting} {}", path.display()))?;
        Ok(Self { setting, path, make, current: RwLock::new(Arc::new(first)) })
    }

    /// The keys that count.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again. `false`: it can't be used, which is logged, and the keys that it had last still count.
    pub fn reload(&self) -> bool {
        let (setting, file) = (self.setting, self.path.display());
        match bytes_of(&self.path).and_then(|bytes| (self.make)(&bytes)) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(setting, %file, "keys read again");
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(setting, %file, error, "keys can't be read again: those that were there last still count");
                false
            }
        }
    }
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(read_at_most(path, KEY_FILE_MAX_BYTES)?)
}

impl<T> fmt::Debug for KeyFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFile").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_turns_bad_keeps_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let read = || {
            let make = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>();
            KeyFile::read("NUMBER_FILE", path.clone(), make)
        };
        let error = format!("{:#}", read().unwrap_err());
        assert!(error.starts_with(&format!("NUMBER_FILE {}: ", path.display())), "{error}");
        std::fs::write(&path, "1").unwrap();
        let file = read().unwrap();
        assert_eq!(*file.current(), 1);
        std::fs::write(&path, "22").unwrap();
        assert_eq!((file.reload(), *file.current()), (true, 22));
        std::fs::write(&path, "no number").unwrap();
        assert_eq!((file.reload(), *file.current()), (false, 22));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((file.reload(), *file.current()), (false, 22));
        std::fs::write(&path, vec![b'1'; KEY_FILE_MAX_BYTES as usize + 1]).unwrap();
        assert_eq!((file.reload(), *file.current()), (false, 22));
    }
}
