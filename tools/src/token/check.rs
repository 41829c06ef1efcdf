//! Says what a gateway makes of a token: by the gateway's own code, with the settings of a configuration that is given like the
//! gateway's, or of a gateway that runs.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{anyhow, bail, ensure};
use clap::Args;
use serde_json::json;
use ws_gateway::auth::{Auth, AuthError, Patience};
use ws_gateway::bus::Standing;
use ws_gateway::config::Config;
use ws_gateway::identity::{Grant, Identity, Rights};
use ws_gateway::market::{Delays, Form, Kind, Name, SymbolCase};
use ws_gateway::protocol::native::read;
use ws_gateway::protocol::refusal::Refusal;
use ws_gateway::protocol::request::{Action, Grammar, Request};
use ws_gateway::state::State;

use super::times::in_words;
use super::unread;
use crate::cli;
use crate::term::{clean, print, tell};

/// How much of a refusal is shown.
const SHOWN_BYTES: usize = 4_096;

/// Which token, and by which settings.
#[derive(Debug, Args)]
pub struct Options {
    /// The token or API key; '-' or nothing to read it from standard input
    #[arg(value_name = "TOKEN", conflicts_with = "anonymous")]
    pub token: Option<String>,

    /// What a client without a token may have
    #[arg(long)]
    pub anonymous: bool,

    /// Try a subscribe to these symbols and patterns as well
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = cli::symbol_or_pattern)]
    pub subscribe: Vec<String>,

    /// The types of that subscribe [default: trade]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = cli::type_name)]
    pub types: Vec<String>,

    /// Take the settings of the gateway that runs as this process: its command line, environment and .env
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Flags of ws-gateway, behind --; without --pid the environment and .env count too
    #[arg(last = true, value_name = "SETTINGS")]
    pub settings: Vec<OsString>,
}

/// Says what a gateway makes of a token.
///
/// # Errors
/// When the configuration or its keys can't be used, or standard output can't be written.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let token = if options.anonymous { None } else { Some(super::token(options.token.as_deref())?) };
    let config = configuration(options)?;
    for warning in &config.warnings {
        tell(format_args!("-- {}", clean(warning, SHOWN_BYTES)));
    }
    let auth = Auth::new(&config, Arc::new(State::new(config.server.server_id.clone(), 1)))?;
    if let Some(keys) = auth.remote_keys() {
        match keys.fetch_once().await {
            Ok(()) => {
                let set = keys.current().unwrap_or_default();
                let kids = set.ids().collect::<Vec<_>>().join(", ");
                tell(format_args!("-- keys fetched: {}", clean(&kids, SHOWN_BYTES)));
            }
            Err(error) => {
                tell(format_args!("!! keys can't be fetched: {}", clean(&format!("{error:#}"), SHOWN_BYTES)));
            }
        }
    }
    let grammar = Grammar::new(config.events.channel_types.clone(), config.events.symbol_case);
    let identity = match identity(&auth, token.as_deref()) {
        Ok(identity) => identity,
        Err(why) => {
            print(&format!("refused: {why}"))?;
            if let Some(token) = &token {
                for opinion in auth.explain(token) {
                    print(&format!("  {}: {}", opinion.source, clean(&opinion.says, SHOWN_BYTES)))?;
                }
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    print(&accepted(&config, token.is_some()))?;
    describe(&identity, &grammar, &config.access.feed_delays)?;
    let unread = token.filter(|_| !config.access.is_open()).map(|token| unread::claims(&token, &config));
    if let Some(names) = unread.filter(|names| !names.is_empty()) {
        row("not read", &clean(&format!("{} (no claims of this gateway)", names.join(", ")), SHOWN_BYTES))?;
    }
    if options.subscribe.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    match subscribe(&identity.rights, options, &grammar) {
        Ok(lines) => {
            print("subscribe granted")?;
            lines.iter().try_for_each(|line| print(&format!("  {line}")))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            print(&format!(
                "subscribe refused: {}: {}",
                refusal.code.as_str(),
                clean(&refusal.message, SHOWN_BYTES)
            ))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The settings that count.
fn configuration(options: &Options) -> anyhow::Result<Config> {
    let resolved = match options.pid {
        None => {
            let arguments =
                [OsString::from("ws-gateway")].into_iter().chain(options.settings.iter().cloned());
            Config::resolve(arguments, |name| std::env::var_os(name), Some(Path::new(".env")), OPEN_FILES)
        }
        Some(pid) => {
            if !options.settings.is_empty() {
                bail!("the process has settings of its own: either --pid, or settings behind --");
            }
            let read = |name: &str| {
                std::fs::read(format!("/proc/{pid}/{name}")).map_err(|error| no_settings(pid, &error))
            };
            let (line, variables) = (read("cmdline")?, read("environ")?);
            ensure!(
                !line.is_empty(),
                "--pid {pid}: it has no command line, so it is no gateway, or has just ended"
            );
            let arguments = pieces(&line).map(|piece| OsString::from_vec(piece.to_vec()));
            let variable = |name: &str| {
                let name = name.as_bytes();
                let mut values = pieces(&variables)
                    .filter_map(|piece| piece.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")));
                values.next().map(|value| OsStr::from_bytes(value).to_owned())
            };
            // The paths of its files mean what they mean there.
            let directory = format!("/proc/{pid}/cwd");
            std::env::set_current_dir(directory).map_err(|error| no_settings(pid, &error))?;
            Config::resolve(arguments.collect::<Vec<_>>(), variable, Some(Path::new(".env")), OPEN_FILES)
        }
    };
    resolved.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Why the settings of a process can't be read, and the way out.
fn no_settings(pid: u32, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("--pid {pid}: there is no such process here; pidof ws-gateway tells those there are")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("--pid {pid}: the process is another user's; run ws-token as that user")
        }
        _ => anyhow!("--pid {pid}: its settings can't be read: {error}"),
    }
}

/// The open-file limit bounds connections, of which there are none here.
const OPEN_FILES: u64 = 1 << 20;

/// What stands between the zeros of a file under /proc.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.strip_suffix(&[0]).unwrap_or(bytes).split(|byte| *byte == 0)
}

/// Who the holder of a token is, or who comes without one.
fn identity(auth: &Auth, token: Option<&str>) -> Result<Arc<Identity>, String> {
    if let Some(token) = token {
        return auth.verify(token, Patience::Gone).map_err(|error: AuthError| error.to_string());
    }
    match auth.standing(None, false, Patience::Gone) {
        Ok(Standing::Known(identity)) => Ok(identity),
        Ok(_) => {
            Err("a client without a token may send auth and ping, until AUTH_TIMEOUT (ANONYMOUS=deny)"
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// That somebody comes in, and where that says nothing of a token.
fn accepted(config: &Config, has_token: bool) -> String {
    if !config.access.is_open() {
        return "accepted".to_owned();
    }
    let token = if has_token { ": it doesn't look at the token" } else { "" };
    format!("accepted, as everybody is: no setting has keys, so the gateway is open{token}")
}

fn row(name: &str, value: &str) -> anyhow::Result<()> {
    Ok(print(&format!("  {name:<14} {value}"))?)
}

/// Prints who somebody is and what it may have.
fn describe(identity: &Identity, grammar: &Grammar, delays: &Delays) -> anyhow::Result<()> {
    let Identity { user, rights, expiry } = identity;
    row("user", user.as_ref().map_or("nobody: a client without a user", |user| user.as_str()))?;
    match expiry {
        Some(expiry) => {
            let seconds = |ms: u64| ms as f64 / 1e3;
            let leeway_s = (expiry.ends_ms - expiry.expires_ms) / 1_000;
            let end = in_words(seconds(expiry.expires_ms), UNIX_EPOCH.elapsed()?);
            row("until", &format!("{end}; connections end {leeway_s} s later (JWT_LEEWAY)"))?;
        }
        None => row("until", "it has no end")?,
    }
    let kinds: Vec<_> = grammar.kinds.carried().filter(|kind| may_have(rights, *kind)).collect();
    let names = |kinds: &[Kind]| {
        kinds.iter().map(|kind| grammar.kinds.name(*kind).to_owned()).collect::<Vec<_>>().join(", ")
    };
    match (kinds.is_empty(), rights.types) {
        (true, _) => row("types", "none that this gateway carries (CHANNEL_TYPES)")?,
        (false, None) => row("types", &format!("{} (every type)", names(&kinds)))?,
        (false, Some(_)) => row("types", &format!("{} (claim types)", names(&kinds)))?,
    }
    // Symbols of custom types are never folded, so types may differ in what they show.
    let mut shown: Vec<(String, Vec<Kind>)> = Vec::new();
    for kind in kinds {
        let symbols = symbols(rights, kind);
        match shown.iter_mut().find(|(known, _)| *known == symbols) {
            Some((_, kinds)) => kinds.push(kind),
            None => shown.push((symbols, vec![kind])),
        }
    }
    let is_one = shown.len() == 1;
    for (symbols, kinds) in &shown {
        let of = if is_one { String::new() } else { format!(" (of {})", names(kinds)) };
        row("symbols", &format!("{symbols}{of}"))?;
    }
    let patterns =
        if rights.allow_wildcard { "taken, within the symbols" } else { "refused (ALLOW_WILDCARD=false)" };
    row("patterns", patterns)?;
    row("subscriptions", &format!("at most {} at a time", rights.max_symbols))?;
    match rights.max_rate {
        Some(rate) => row(
            "rate",
            &format!("at most {} events a second of each topic (claim maxRate)", rate.per_second()),
        )?,
        None => row("rate", "not limited by claims")?,
    }
    if let Some(delay_ms) = delays.ms(rights.delay) {
        row("delay", &format!("everything is {delay_ms} ms old (claim delayMs, FEED_DELAYS)"))?;
    }
    Ok(())
}

fn may_have(rights: &Rights, kind: Kind) -> bool {
    rights.types.is_none_or(|types| types.contains(kind))
}

/// The names of a type that somebody may have.
fn symbols(rights: &Rights, kind: Kind) -> String {
    let Some(scopes) = &rights.scopes else { return "every symbol".to_owned() };
    let Some(everything) = Name::parse(b"*", SymbolCase::Exact) else { return String::new() };
    let names: Vec<_> = scopes.of(kind).intersect(&everything).iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "none (claim symbols)".to_owned()
    } else {
        format!("{} (claim symbols)", names.join(", "))
    }
}

/// What a subscribe as the options name it comes to, by the gateway's own reading of the request.
fn subscribe(rights: &Rights, options: &Options, grammar: &Grammar) -> Result<Vec<String>, Refusal> {
    let mut message = json!({"action": "subscribe", "symbols": options.subscribe});
    if !options.types.is_empty() {
        message["types"] = json!(options.types);
    }
    let request = read::parse(&message.to_string(), grammar)?;
    let Request { action: Action::Subscribe(request), .. } = request else { return Ok(Vec::new()) };
    let granted = rights.grant(&request.selection, Form::JSON, &grammar.kinds)?;
    let count = granted.written().count();
    if count > rights.max_symbols {
        return Err(Refusal::symbol_limit(rights.max_symbols, 0, None));
    }
    let one = |grant: Grant| {
        let kind = grammar.kinds.name(grant.written.kind).to_owned();
        let parts: Vec<_> = grant.parts.iter().map(|part| part.name.to_string()).collect();
        let written = grant.written.name.to_string();
        let becomes =
            if parts == [written.clone()] { String::new() } else { format!(", as {}", parts.join(", ")) };
        format!("{kind} {written}{becomes}")
    };
    let grants = if granted.grants.is_empty() {
        granted.subjects.into_iter().map(Grant::literal).collect()
    } else {
        granted.grants
    };
    Ok(grants.into_iter().map(one).collect())
}
