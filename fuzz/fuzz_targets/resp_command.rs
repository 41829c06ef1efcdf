//! Bytes of a client of the embedded broker. Nothing may panic, no answer may depend on how the bytes were cut,
//! and a command that is written again must be read as the same words.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ws_gateway::resp::{CommandError, CommandLimits, Progress, parse_command, write_command};

const LIMITS: CommandLimits =
    CommandLimits { args_max: 64, bulk_bytes_max: 256, total_bytes_max: 4096, unauthenticated: false };

type Commands = Vec<Vec<Vec<u8>>>;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// The lengths of the chunks, over and over.
    chunks: [u8; 4],
    unauthenticated: bool,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let limits = if input.unauthenticated { CommandLimits::UNAUTHENTICATED } else { LIMITS };
    let (commands, error) = read(input.bytes, &[usize::MAX], &limits);
    let chunks = input.chunks.map(usize::from);
    assert_eq!(read(input.bytes, &chunks, &limits), (commands.clone(), error));
    for words in commands {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        write_command(&mut bytes, &args);
        let generous = CommandLimits {
            args_max: usize::MAX,
            bulk_bytes_max: usize::MAX / 2,
            total_bytes_max: usize::MAX,
            unauthenticated: false,
        };
        match parse_command(&bytes, &generous) {
            Ok(Progress::Done { value, used_bytes }) => {
                assert_eq!((value.args().as_slice(), used_bytes), (args.as_slice(), bytes.len()));
            }
            other => panic!("written, but read as {other:?}"),
        }
    }
});

fn read(mut rest: &[u8], chunks: &[usize], limits: &CommandLimits) -> (Commands, Option<CommandError>) {
    let (mut held, mut commands, mut needed) = (Vec::new(), Vec::new(), 1);
    for chunk in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*chunk).clamp(1, rest.len()));
        held.extend_from_slice(now);
        rest = later;
        if held.len() < needed && !rest.is_empty() {
            continue;
        }
        needed = loop {
            let used = match parse_command(&held, limits) {
                Err(error) => return (commands, Some(error)),
                Ok(Progress::Incomplete { needed_bytes }) => break needed_bytes,
                Ok(Progress::Done { value, used_bytes }) => {
                    commands.push(value.args().iter().map(|arg| arg.to_vec()).collect());
                    used_bytes
                }
            };
            assert!(used > 0);
            held.drain(..used);
        };
        assert!(needed > held.len());
    }
    (commands, None)
}
