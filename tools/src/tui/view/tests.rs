//! Whole screens, as `screens/*.txt` has them. `UPDATE_SCREENS=1 cargo test -p tools --lib tui` writes them again, to be looked at.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::*;
use crate::client::frame::Frame as Said;
use crate::client::reconnect::Ended;
use crate::tui::desk::Turn;
use crate::tui::keys::Action;
use crate::tui::theme::Theme;

fn at(ms: u64) -> Now {
    Now { us: ms * 1000, unix_ms: 1_700_000_000_000 + ms }
}

/// A minute of a market, always the same.
fn market() -> (Model, Desk) {
    let symbols = ["AAPL", "BTC-USD", "MSFT"].map(str::to_owned);
    let mut model = Model::new("ws://127.0.0.1:8080/ws", &symbols);
    model.connected(at(0));
    let take = |model: &mut Model, text: &str, ms: u64| model.take(&Said::parse(text).unwrap(), at(ms));
    take(
        &mut model,
        r#"{"type":"success","message":"Successfully subscribed to 3 symbol(s)","data":{"currentSubscriptions":["AAPL","BTC-USD","MSFT"]},"timestamp":1}"#,
        1,
    );
    for second in 1..60_u64 {
        let ms = second * 1000;
        let wave = (second as f64 / 7.0).sin();
        for (symbol, price, volume) in [
            ("AAPL", format!("{:.2}", 189.5 + wave), 100),
            ("BTC-USD", format!("{:.1}", 67_000.0 - 900.0 * wave), 3),
        ] {
            let trade = format!(
                r#"{{"type":"trade","data":{{"symbol":"{symbol}","price":{price},"volume":{volume},"timestamp":{},"exchange":"NASDAQ"}},"timestamp":1}}"#,
                1_700_000_000_000 + ms - 12
            );
            take(&mut model, &trade, ms);
        }
        model.tick(at(ms + 999));
    }
    take(
        &mut model,
        r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"trade","count":17},"timestamp":1}"#,
        59_900,
    );
    model.link.pinged(at(59_901));
    model.link.pong(Now { us: 59_901_400, unix_ms: 0 });
    (model, Desk::new(Theme::DARK))
}

fn screen(model: &Model, desk: &Desk, now: Now, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, desk, now)).unwrap();
    terminal
}

/// The screen's text is the file's.
fn assert_screen(name: &str, terminal: &Terminal<TestBackend>) {
    let buffer = terminal.backend().buffer();
    let mut seen = String::new();
    for line in buffer.content.chunks(usize::from(buffer.area.width)) {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        writeln!(seen, "{}", line.trim_end()).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui/view/screens").join(name);
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&file, &seen).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert!(seen == expected, "not as {}:\n{seen}", file.display());
}

#[test]
fn a_wide_a_usual_and_a_narrow_terminal_have_layouts_of_their_own() {
    let (model, desk) = market();
    for (width, height) in [(120, 24), (80, 24), (60, 18), (40, 20)] {
        let terminal = screen(&model, &desk, at(60_000), width, height);
        assert_screen(&format!("{width}x{height}.txt"), &terminal);
    }
}

#[test]
fn a_lost_connection_is_told_with_the_code_and_what_it_means() {
    let (mut model, desk) = market();
    let restart = Ended::Closed { code: Some(1012), reason: "restart".to_owned() };
    model.ended(&restart, Duration::from_millis(1_200), at(60_000));
    for (width, height) in [(80, 14), (40, 14)] {
        let terminal = screen(&model, &desk, at(60_500), width, height);
        assert_screen(&format!("down-{width}x{height}.txt"), &terminal);
        // The price is there, but no longer as one that is current.
        let buffer = terminal.backend().buffer();
        let price =
            buffer.content.iter().position(|cell| cell.symbol() == "▲" || cell.symbol() == "▼").unwrap();
        assert_eq!(buffer.content[price].fg, Color::Indexed(245));
    }
}

#[test]
fn a_price_from_before_a_loss_stays_dim_until_its_symbols_next_event() {
    let (mut model, desk) = market();
    let trade = |symbol: &str| {
        format!(
            r#"{{"type":"trade","data":{{"symbol":"{symbol}","price":190,"volume":1,"timestamp":1}},"timestamp":1}}"#
        )
    };
    let status = |event: &str, data: &str| {
        format!(r#"{{"type":"status","event":"{event}","data":{data},"timestamp":1}}"#)
    };
    let take = |model: &mut Model, text: &str| model.take(&Said::parse(text).unwrap(), at(60_000));
    // The symbol has the theme's dim colour where its price is not passed off as current.
    let stale = |model: &Model| {
        let terminal = screen(model, &desk, at(60_001), 80, 24);
        let buffer = terminal.backend().buffer();
        let lines = buffer.content.chunks(80).skip(2).take(2);
        lines.map(|line| line[1].fg == Color::Indexed(245)).collect::<Vec<_>>()
    };
    assert_eq!(stale(&model), [false, false]);
    for state in [r#"{"state":"down"}"#, r#"{"state":"up","gapMs":1234}"#] {
        take(&mut model, &status("feed", state));
        assert_eq!(stale(&model), [true, true], "{state}");
    }
    take(&mut model, &trade("AAPL"));
    assert_eq!(stale(&model), [false, true], "only AAPL has a newer price");
    take(&mut model, &trade("BTC-USD"));
    assert_eq!(stale(&model), [false, false]);

    model.ended(&Ended::Lost("reset".to_owned()), Duration::ZERO, at(60_000));
    model.connected(at(60_000));
    let resumed = r#"{"type":"success","message":"m","data":{"subscribed":["AAPL","BTC-USD"],"currentSubscriptions":["AAPL","BTC-USD","MSFT"],"recovered":{"AAPL":true,"BTC-USD":false}},"timestamp":1}"#;
    take(&mut model, resumed);
    assert_eq!(stale(&model), [true, true], "a connection alone makes no price current");
    take(&mut model, &status("replayEnd", r#"{"symbols":["AAPL","BTC-USD"],"type":"trade"}"#));
    assert_eq!(stale(&model), [false, true], "of BTC-USD something is missing");
}

#[test]
fn every_state_has_its_words() {
    let (mut model, desk) = market();
    let first_line = |model: &Model, ms: u64| {
        let terminal = screen(model, &desk, at(ms), 80, 10);
        let buffer = terminal.backend().buffer();
        buffer.content[..80].iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    assert!(
        first_line(&model, 70_000).starts_with(" ● stale: nothing came for 10 s"),
        "{}",
        first_line(&model, 70_000)
    );
    let heartbeat =
        |data: &str| format!(r#"{{"type":"status","event":"heartbeat","data":{data},"timestamp":1}}"#);
    model.take(&Said::parse(&heartbeat(r#"{"feed":"up","lastEventAgeMs":45000}"#)).unwrap(), at(70_000));
    assert!(first_line(&model, 70_001).starts_with(" ● live, feed quiet for 45 s"));
    model.take(&Said::parse(&heartbeat(r#"{"feed":"down","lastEventAgeMs":45000}"#)).unwrap(), at(70_000));
    assert!(first_line(&model, 70_001).starts_with(" ● stale: the gateway has lost its feed"));
    model.link.connecting();
    assert!(first_line(&model, 70_001).starts_with(" ○ connecting"));
}

#[test]
fn what_is_typed_and_what_is_wrong_with_it_stand_above_the_keys() {
    let (mut model, mut desk) = market();
    for action in [Action::Add, Action::Type('x'), Action::Type('"'), Action::Submit] {
        assert_eq!(desk.act(action, &mut model, at(60_000)), Turn::Stay);
    }
    assert_screen("prompt-80x12.txt", &screen(&model, &desk, at(60_000), 80, 12));
    desk.act(Action::Close, &mut model, at(60_000));
    desk.act(Action::Help, &mut model, at(60_000));
    assert_screen("help-80x24.txt", &screen(&model, &desk, at(60_000), 80, 24));
    desk.act(Action::Close, &mut model, at(60_000));
    desk.act(Action::Pane, &mut model, at(60_000));
    desk.act(Action::Pause, &mut model, at(60_000));
    assert_screen("notices-80x14.txt", &screen(&model, &desk, at(60_000), 80, 14));
}

#[test]
fn colours_are_the_themes_and_without_them_everything_is_still_told() {
    let (model, mut desk) = market();
    let styles = |desk: &Desk| {
        let terminal = screen(&model, desk, at(60_000), 80, 24);
        let cells = terminal.backend().buffer().content.clone();
        let falls = cells.iter().position(|cell| cell.symbol() == "▼").unwrap();
        (cells[falls].fg, cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)))
    };
    assert_eq!(styles(&desk), (Color::Indexed(204), false));
    desk.theme = Theme::LIGHT;
    assert_eq!(styles(&desk), (Color::Indexed(161), false));
    desk.theme = Theme::MONO;
    assert_eq!(styles(&desk), (Color::Reset, true), "the selected line is reversed instead");
}

#[test]
fn no_size_is_too_small() {
    let (model, mut desk) = market();
    for help in [false, true] {
        desk.help = help;
        for (width, height) in
            (1..130).step_by(3).flat_map(|width| (1..12).map(move |height| (width, height)))
        {
            screen(&model, &desk, at(60_000), width, height);
        }
    }
}
