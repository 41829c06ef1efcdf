//! Commands about the client's own connection.

use super::{Context, Flow, REDIS_VERSION, Session};
use crate::broker::peer::USER;
use crate::resp::{Protocol, decimal, write_array_header, write_bulk, write_integer, write_map_header};

/// How many databases there are (Redis' default). All are empty.
pub(super) const DATABASES: u32 = 16;
/// The longest name that a client may give itself or its library: every `CLIENT LIST` repeats it.
const NAME_BYTES_MAX: usize = 256;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

impl Session {
    pub(super) fn hello(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let protocol = match args.get(1).map(|version| decimal(version)) {
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
                    if let Err(error) = check_name("Client names", given) {
                        return context.error(error);
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
            self.edit_peer(context, |peer| peer.name = name.to_vec());
        }
        self.set_protocol(context, protocol);
        self.write_hello(context);
        Flow::Flush
    }

    fn write_hello(&self, context: &mut Context<'_>) {
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

    fn set_protocol(&mut self, context: &mut Context<'_>, protocol: Protocol) {
        self.protocol = protocol;
        self.edit_peer(context, |peer| peer.protocol = protocol);
    }

    pub(super) fn auth(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let (user, password) = match args {
            [_, password] if context.settings.password.is_some() => (USER.as_bytes(), *password),
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

    /// Whether these credentials are right; if so, the client is authenticated. A client that was authenticated before
    /// stays so if they are wrong.
    fn try_password(&mut self, context: &Context<'_>, user: &[u8], password: &[u8]) -> bool {
        let good = user == USER.as_bytes()
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

    /// Returns the session to the state of a new connection.
    pub(super) fn reset(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.hub.registry.remove(self.id);
        self.end_transaction(context);
        self.set_protocol(context, Protocol::default());
        self.authenticated = context.settings.password.is_none();
        self.edit_peer(context, |peer| {
            peer.name = Vec::new();
            peer.database = 0;
        });
        context.out.extend_from_slice(b"+RESET\r\n");
        Flow::Flush
    }

    pub(super) fn echo(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        write_bulk(context.out, args[1]);
        Flow::Continue
    }

    /// Notes the number for `CLIENT LIST`. Databases have no other effect: they have no keys, and channels belong to
    /// none of them.
    pub(super) fn select(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let Some(number) = decimal(args[1]) else {
            return context.error("ERR value is not an integer or out of range");
        };
        if i32::try_from(number).is_err() {
            let (min, max) = (i32::MIN, i32::MAX);
            return context.error(format!("ERR value is out of range, value must between {min} and {max}"));
        }
        match u32::try_from(number) {
            Ok(number) if number < DATABASES => {
                self.edit_peer(context, |peer| peer.database = number);
                context.ok()
            }
            _ => context.error("ERR DB index is out of range"),
        }
    }
}

/// Checks a name of a client or its library: visible ASCII only, so that lists of clients stay readable. `what` says
/// in the error's text which names are meant.
pub(super) fn check_name(what: &str, name: &[u8]) -> Result<(), String> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes."));
    }
    Ok(())
}

/// Compares in a time that doesn't depend on how much of `given` is right.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let differences = given.iter().enumerate().fold(0, |differences, (i, &byte)| {
        differences | (byte ^ expected.get(i).copied().unwrap_or_default())
    });
    differences == 0 && expected.len() == given.len()
}
