//! Reads small files whole: certificates, keys, `.env`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file can't be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has more bytes than it may have, which is how many are given here.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

/// A file's bytes, at most `max_bytes` of them.
///
/// # Errors
/// When it can't be read, or is larger.
pub fn read_at_most(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_large_as_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(read_at_most(&path, 4).unwrap(), b"four");
        assert_eq!(read_at_most(&path, 3).unwrap_err().to_string(), "it is larger than 3 bytes");
        assert!(matches!(read_at_most(&dir.path().join("none"), 3), Err(ReadError::Io(_))));
    }
}
