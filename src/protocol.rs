//! What clients and the gateway say to each other, and how it is written. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`request`] | what clients ask for |
//! | [`terms`] | on which terms they are served |
//! | [`refusal`] | why a request changes nothing |
//! | [`native`] | the gateway's own protocol: JSON in text frames |

pub mod native;
pub mod refusal;
pub mod request;
pub mod terms;
