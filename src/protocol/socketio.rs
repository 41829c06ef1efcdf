//! Socket.IO, protocol version 5, over Engine.IO, protocol version 4: what clients such as `socket.io-client` speak. Pure.
//!
//! Packets of Socket.IO are the messages of Engine.IO, whose packets are each a WebSocket message, or one of several in the body of an HTTP
//! request or answer.
//!
//! | part | what it is |
//! |---|---|
//! | [`engine`] | packets of Engine.IO, and bodies with several |
//! | [`packet`] | packets of Socket.IO |
//! | [`namespace`] | the namespaces, and which of them a client is in |
//! | [`read`] | what clients say |
//! | [`desk`] | what they ask of the desk |
//! | [`mark`] | what an answer has to know of its request |
//! | [`mod@write`] | answers and statuses |
//! | [`event`] | events |

pub mod desk;
pub mod engine;
pub mod event;
pub mod mark;
pub mod namespace;
pub mod packet;
pub mod read;
pub mod write;
