//! docs/tools.md says what the programs take, as they take it.

use clap::CommandFactory as _;

use crate::common::assert_documented;

#[test]
fn every_option_is_told_and_every_example_taken() {
    assert_documented(&tools::publisher::Options::command());
    assert_documented(&tools::client::Options::command());
}

#[test]
fn every_command_of_ws_token_is_told_and_every_example_taken() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tools.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("ws-token")).expect("a section");
    let command = tools::token::Options::command();
    for command in command.get_subcommands() {
        assert!(section.contains(&format!("ws-token {}", command.get_name())), "{}", command.get_name());
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let told = argument.get_long().is_none_or(|flag| section.contains(&format!("--{flag}")));
            assert!(told, "ws-token {} {argument}", command.get_name());
        }
    }
    let in_text = section.split('`').filter(|text| text.starts_with("ws-token "));
    let in_blocks = section.lines().filter_map(|line| line.strip_prefix("    ws-token "));
    let mut examples = 0;
    for example in in_text.map(|text| &text["ws-token ".len()..]).chain(in_blocks) {
        let example = example.split([':', '<', '>']).next().unwrap_or_default();
        let words = example.split_whitespace().map(|word| word.trim_matches('\''));
        let line: Vec<_> = std::iter::once("ws-token").chain(words).collect();
        let taken = command.clone().try_get_matches_from(&line);
        taken.unwrap_or_else(|error| panic!("{line:?}: {error}"));
        examples += 1;
    }
    assert!(examples > 15, "{examples}");
}
