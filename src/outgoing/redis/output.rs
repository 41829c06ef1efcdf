//! Commands on their way to Redis.

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// They are written in parts, so that replies are read and times are kept meanwhile.
pub(super) struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// All bytes are written and flushed.
    pub(super) is_sent: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { bytes: Vec::new(), written: 0, is_sent: true }
    }
}

impl Output {
    /// To add commands to, once everything before them is sent.
    pub(super) fn start(&mut self) -> &mut Vec<u8> {
        self.is_sent = false;
        &mut self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the next part. Cancel safe: a cancelled call has written nothing.
    pub(super) async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.written < self.bytes.len() {
            self.written += writer.write(&self.bytes[self.written..]).await?;
        } else {
            // TLS keeps a part of what was written.
            writer.flush().await?;
            self.bytes.clear();
            self.written = 0;
            self.is_sent = true;
        }
        Ok(())
    }
}
