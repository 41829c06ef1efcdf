//! How a shard speaks to a part of the process of which it knows nothing else.

use std::fmt;
use std::sync::Arc;

/// A sender that is a function. Clones send to the same receiver.
pub struct FnSender<T>(Arc<dyn Fn(T) + Send + Sync>);

impl<T> FnSender<T> {
    /// A sender that calls `send`, which must not block.
    pub fn new(send: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends a message. A receiver that has ended drops it: then the shards end as well, and nobody waits for an answer.
    pub fn send(&self, message: T) {
        (self.0)(message);
    }
}

impl<T> Clone for FnSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for FnSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnSender")
    }
}
