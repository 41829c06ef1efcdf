//! docs/tools.md says what the programs take, as they take it.

use clap::CommandFactory as _;

use crate::common::assert_documented;

#[test]
fn every_option_is_told_and_every_example_taken() {
    assert_documented(&tools::publisher::Options::command());
    assert_documented(&tools::client::Options::command());
}
