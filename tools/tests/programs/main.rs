//! The tools as programs: against a real Redis, a real gateway, and a server that plays one.

mod client;
mod client_time;
mod common;
mod documents;
mod end_to_end;
mod entry;
mod examples;
mod people;
mod publisher;
mod quiet_ends;
mod security_page;
mod socketio;
mod token;
mod tui;
