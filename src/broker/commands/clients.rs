//! `CLIENT`: a client's own entry in the list of clients, the list itself, and ending connections.

use std::collections::BTreeSet;

use super::connection::check_name;
use super::{Context, Flow, Session, text_about};
use crate::broker::hub::Hub;
use crate::broker::peer::{ClientType, USER};
use crate::broker::pubsub::ClientId;
use crate::resp::{decimal, write_bulk, write_integer, write_null, write_verbatim};

const SYNTAX_ERROR: &str = "ERR syntax error";

impl Session {
    pub(super) fn client_id(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        write_integer(context.out, self.id.0.cast_signed());
        Flow::Continue
    }

    pub(super) fn client_getname(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        match context.hub.peer(self.id).filter(|peer| !peer.name.is_empty()) {
            Some(peer) => write_bulk(context.out, &peer.name),
            None => write_null(context.out, self.protocol),
        }
        Flow::Continue
    }

    pub(super) fn client_setname(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if let Err(error) = check_name("Client names", args[2]) {
            return context.error(error);
        }
        self.edit_peer(context, |peer| peer.name = args[2].to_vec());
        context.ok()
    }

    pub(super) fn client_setinfo(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let is_name = args[2].eq_ignore_ascii_case(b"lib-name");
        if !is_name && !args[2].eq_ignore_ascii_case(b"lib-ver") {
            return context.error_about("ERR Unrecognized option '", args[2], "'");
        }
        if let Err(error) = check_name(if is_name { "lib-name" } else { "lib-ver" }, args[3]) {
            return context.error(error);
        }
        self.edit_peer(context, |peer| {
            let attribute = if is_name { &mut peer.library.name } else { &mut peer.library.version };
            *attribute = args[3].to_vec();
        });
        context.ok()
    }

    /// `NO-EVICT` and `NO-TOUCH`. They have no effect, because the broker has no keys.
    pub(super) fn client_switch(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if [&b"on"[..], b"off"].iter().any(|word| args[2].eq_ignore_ascii_case(word)) {
            return context.ok();
        }
        context.error(SYNTAX_ERROR)
    }

    pub(super) fn client_info(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        self.list(context, &[self.id])
    }

    pub(super) fn client_list(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        match listed(context.hub, &args[2..]) {
            Ok(ids) => self.list(context, &ids),
            Err(error) => context.error(error),
        }
    }

    /// Answers with a line for each of these clients that is connected.
    fn list(&self, context: &mut Context<'_>, ids: &[ClientId]) -> Flow {
        self.note_activity(context.hub, context.turn.now);
        let mut lines = Vec::new();
        for &id in ids {
            if let Some(peer) = context.hub.peer(id) {
                peer.write_line(id, &context.hub.registry, context.turn.now, &mut lines);
            }
        }
        write_verbatim(context.out, self.protocol, &lines);
        Flow::Continue
    }

    pub(super) fn client_kill(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let (filter, by_address) = match args {
            [_, _, address] => {
                let address = Some(String::from_utf8_lossy(address).into_owned());
                (KillFilter { address, ..KillFilter::default() }, true)
            }
            _ => match KillFilter::parse(&args[2..]) {
                Ok(filter) => (filter, false),
                Err(error) => return context.error(error),
            },
        };
        let hub = &*context.hub;
        let victims: Vec<_> = (hub.peers())
            .filter(|(id, peer)| {
                let KillFilter { id: wanted, kind, address, local_address, skip_self } = &filter;
                wanted.is_none_or(|wanted| wanted == *id)
                    && kind.is_none_or(|kind| kind == hub.type_of(*id))
                    && (address.as_ref()).is_none_or(|addr| *addr == peer.endpoints.peer.to_string())
                    && (local_address.as_ref()).is_none_or(|addr| *addr == peer.endpoints.local.to_string())
                    && !(*skip_self && *id == self.id)
            })
            .map(|(id, _)| id)
            .collect();
        for &id in victims.iter().filter(|id| **id != self.id) {
            context.hub.kill(id, context.turn);
        }
        match (by_address, victims.len()) {
            (true, 0) => context.error("ERR No such client"),
            (true, _) => context.ok(),
            (false, killed) => context.integer(killed),
        };
        // A client that kills itself gets its answer first.
        if victims.contains(&self.id) { Flow::Close } else { Flow::Continue }
    }
}

/// The conditions of a `CLIENT KILL`. It ends the clients that meet every condition given.
#[derive(Default)]
struct KillFilter {
    id: Option<ClientId>,
    kind: Option<ClientType>,
    address: Option<String>,
    local_address: Option<String>,
    /// Whether the client that sent the command is spared.
    skip_self: bool,
}

impl KillFilter {
    /// Reads pairs of an option and its value. The error is the reply's text.
    fn parse(options: &[&[u8]]) -> Result<Self, Vec<u8>> {
        let mut filter = Self { skip_self: true, ..Self::default() };
        let (pairs, rest) = options.as_chunks::<2>();
        for [option, value] in pairs {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let text = || Some(String::from_utf8_lossy(value).into_owned());
            if is("id") {
                let id = decimal(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                filter.id = Some(ClientId(id.ok_or("ERR client-id should be greater than 0")?));
            } else if is("type") {
                filter.kind = Some(client_type(value)?);
            } else if is("addr") {
                filter.address = text();
            } else if is("laddr") {
                filter.local_address = text();
            } else if is("user") {
                // Every client is this user.
                if *value != USER.as_bytes() {
                    return Err(text_about("ERR No such user '", value, "'"));
                }
            } else if is("skipme") && value.eq_ignore_ascii_case(b"yes") {
                filter.skip_self = true;
            } else if is("skipme") && value.eq_ignore_ascii_case(b"no") {
                filter.skip_self = false;
            } else {
                return Err(SYNTAX_ERROR.into());
            }
        }
        if rest.is_empty() { Ok(filter) } else { Err(SYNTAX_ERROR.into()) }
    }
}

/// The clients that a `CLIENT LIST` with these options lists. The error is the reply's text.
fn listed(hub: &Hub, options: &[&[u8]]) -> Result<Vec<ClientId>, Vec<u8>> {
    let all = hub.peers().map(|(id, _)| id);
    match options {
        [] => Ok(all.collect()),
        [word, name] if word.eq_ignore_ascii_case(b"type") => {
            let wanted = client_type(name)?;
            Ok(all.filter(|id| hub.type_of(*id) == wanted).collect())
        }
        [word, ids @ ..] if word.eq_ignore_ascii_case(b"id") && !ids.is_empty() => ids_of(ids),
        _ => Err(SYNTAX_ERROR.into()),
    }
}

/// Reads client ids, and keeps each once, in this order. Redis lists a client as often as it is named, which makes
/// the answer to a short command very long.
fn ids_of(words: &[&[u8]]) -> Result<Vec<ClientId>, Vec<u8>> {
    let mut seen = BTreeSet::new();
    let mut ids = Vec::new();
    for word in words {
        let id = ClientId(decimal(word).ok_or("ERR Invalid client ID")?.cast_unsigned());
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn client_type(name: &[u8]) -> Result<ClientType, Vec<u8>> {
    ClientType::parse(name).ok_or_else(|| text_about("ERR Unknown client type '", name, "'"))
}
