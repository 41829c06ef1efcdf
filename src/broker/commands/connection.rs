//! Commands about the connection and the server.

use super::{COMMANDS, Context, Flow, REDIS_VERSION, Session};
use crate::resp::{
    Protocol, write_array_header, write_bulk, write_integer, write_map_header, write_null, write_verbatim,
};

/// The only user.
const USER: &[u8] = b"default";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

impl Session {
    pub(super) fn hello(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let protocol = match args.get(1).map(|version| integer(version)) {
            None => self.protocol,
            Some(None) => return context.error("ERR Protocol version is not an integer or out of range"),
            Some(Some(2)) => Protocol::Resp2,
            Some(Some(3)) => Protocol::Resp3,
            Some(Some(_)) => return context.error("NOPROTO unsupported protocol version"),
        };
        let (mut credentials, mut name) = (None, None);
        let mut options = args.get(2..).unwrap_or_default();
        while let Some(&option) = options.first() {
            options = match options {
                [word, user, password, rest @ ..] if word.eq_ignore_ascii_case(b"auth") => {
                    credentials = Some((*user, *password));
                    rest
                }
                [word, given, rest @ ..] if word.eq_ignore_ascii_case(b"setname") => {
                    if !is_name(given) {
                        return context.error(BAD_NAME);
                    }
                    name = Some(*given);
                    rest
                }
                _ => return context.error_about("ERR Syntax error in HELLO option '", option, "'"),
            };
        }
        if let Some((user, password)) = credentials
            && !self.try_password(context, user, password)
        {
            return context.error(WRONG_PASSWORD);
        }
        if !self.authenticated {
            return context.error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
                 <pass> option can be used to authenticate the client and select the RESP protocol version at the \
                 same time",
            );
        }
        if let Some(name) = name {
            self.name = name.to_vec();
        }
        self.speak(context, protocol);
        self.introduce(context);
        Flow::Flush
    }

    fn introduce(&self, context: &mut Context<'_>) {
        let out = &mut *context.out;
        write_map_header(out, self.protocol, 7);
        for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            write_bulk(out, key.as_bytes());
            write_bulk(out, value.as_bytes());
        }
        write_bulk(out, b"proto");
        write_integer(out, self.protocol.number());
        write_bulk(out, b"id");
        write_integer(out, self.id.0.cast_signed());
        for (key, value) in [("mode", "standalone"), ("role", "master")] {
            write_bulk(out, key.as_bytes());
            write_bulk(out, value.as_bytes());
        }
        write_bulk(out, b"modules");
        write_array_header(out, 0);
    }

    fn speak(&mut self, context: &mut Context<'_>, protocol: Protocol) {
        self.protocol = protocol;
        context.hub.set_protocol(self.id, protocol);
    }

    pub(super) fn auth(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let (user, password) = match args {
            [_, password] if context.settings.password.is_some() => (USER, *password),
            [_, _] => {
                return context.error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                );
            }
            [_, user, password] => (*user, *password),
            _ => return context.error("ERR syntax error"),
        };
        if self.try_password(context, user, password) { context.ok() } else { context.error(WRONG_PASSWORD) }
    }

    /// Whether these credentials are good; if so, the client is authenticated. A failure takes nothing from it.
    fn try_password(&mut self, context: &Context<'_>, user: &[u8], password: &[u8]) -> bool {
        let good = user == USER
            && context
                .settings
                .password
                .as_ref()
                .is_none_or(|expected| same_secret(expected.as_bytes(), password));
        self.authenticated |= good;
        good
    }

    pub(super) fn quit(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.ok();
        Flow::Close
    }

    /// Back to how the connection began.
    pub(super) fn reset(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.hub.registry.remove(self.id);
        self.speak(context, Protocol::default());
        self.authenticated = context.settings.password.is_none();
        self.name = Vec::new();
        context.out.extend_from_slice(b"+RESET\r\n");
        Flow::Flush
    }

    pub(super) fn echo(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        write_bulk(context.out, args[1]);
        Flow::Continue
    }

    /// There is one database, and nothing in it.
    pub(super) fn select(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        match integer(args[1]) {
            Some(0) => context.ok(),
            Some(_) => context.error("ERR DB index is out of range"),
            None => context.error("ERR value is not an integer or out of range"),
        }
    }

    pub(super) fn client_id(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        write_integer(context.out, self.id.0.cast_signed());
        Flow::Continue
    }

    pub(super) fn client_getname(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        if self.name.is_empty() {
            write_null(context.out, self.protocol);
        } else {
            write_bulk(context.out, &self.name);
        }
        Flow::Continue
    }

    pub(super) fn client_setname(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if !is_name(args[2]) {
            return context.error(BAD_NAME);
        }
        self.name = args[2].to_vec();
        context.ok()
    }

    /// Libraries introduce themselves; nobody here asks for it.
    pub(super) fn client_setinfo(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if [&b"lib-name"[..], b"lib-ver"].iter().any(|word| args[2].eq_ignore_ascii_case(word)) {
            return context.ok();
        }
        context.error_about("ERR Unrecognized option '", args[2], "'")
    }

    /// `NO-EVICT` and `NO-TOUCH`: without data there is nothing to switch.
    pub(super) fn client_switch(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if [&b"on"[..], b"off"].iter().any(|word| args[2].eq_ignore_ascii_case(word)) {
            return context.ok();
        }
        context.error("ERR syntax error")
    }

    /// Clients ask for the table of commands to know where keys stand; there are no keys here.
    pub(super) fn command(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        write_array_header(context.out, 0);
        Flow::Continue
    }

    pub(super) fn command_count(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        let names = COMMANDS.iter().map(|spec| spec.name.split('|').next());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        context.integer(names.len())
    }

    pub(super) fn command_docs(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        write_map_header(context.out, self.protocol, 0);
        Flow::Continue
    }

    pub(super) fn command_info(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let names = &args[2..];
        write_array_header(context.out, names.len());
        for _ in names {
            write_null(context.out, self.protocol);
        }
        Flow::Continue
    }

    pub(super) fn info(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let uptime_s = context.hub.uptime_s(context.turn.now);
        let sections = [
            (
                "Server",
                format!(
                    "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:ws-gateway\r\n\
                     gateway_version:{}\r\nprocess_id:{}\r\ntcp_port:{}\r\nuptime_in_seconds:{uptime_s}\r\n",
                    env!("CARGO_PKG_VERSION"),
                    std::process::id(),
                    context.settings.port,
                ),
            ),
            ("Clients", format!("connected_clients:{}\r\n", context.hub.client_count())),
            // Clients wait for `loading:0` before they send anything.
            ("Persistence", "loading:0\r\n".to_owned()),
            ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
        ];
        let wanted = |name: &str| {
            let all = ["all", "default", "everything"];
            args.len() == 1
                || args[1..].iter().any(|arg| {
                    arg.eq_ignore_ascii_case(name.as_bytes())
                        || all.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
                })
        };
        let text: Vec<_> = (sections.iter().filter(|(name, _)| wanted(name)))
            .map(|(name, lines)| format!("# {name}\r\n{lines}"))
            .collect();
        write_verbatim(context.out, self.protocol, text.join("\r\n").as_bytes());
        Flow::Continue
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether a client may call itself this: visible ASCII only, so that lists of clients stay readable.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// Compares without telling by its duration how much of a guess is right.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let differences = given.iter().enumerate().fold(0, |differences, (i, &byte)| {
        differences | (byte ^ expected.get(i).copied().unwrap_or_default())
    });
    differences == 0 && expected.len() == given.len()
}
