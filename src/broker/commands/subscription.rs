//! Publishing and subscribing.

use super::{Context, Flow, Session};
use crate::broker::glob;
use crate::broker::pubsub::{Kind, TooManySubscriptions};
use crate::resp::{Protocol, write_array_header, write_bulk, write_integer, write_null, write_push_header};

impl Session {
    pub(super) fn publish(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let receivers = context.hub.publish(self.id, context.out, args[1], args[2], context.turn);
        context.integer(receivers)
    }

    pub(super) fn subscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        self.subscribe_to(context, Kind::Channel, &args[1..])
    }

    pub(super) fn psubscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        self.subscribe_to(context, Kind::Pattern, &args[1..])
    }

    pub(super) fn unsubscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        self.unsubscribe_from(context, Kind::Channel, &args[1..])
    }

    pub(super) fn punsubscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        self.unsubscribe_from(context, Kind::Pattern, &args[1..])
    }

    /// Every name is confirmed on its own.
    fn subscribe_to(&mut self, context: &mut Context<'_>, kind: Kind, names: &[&[u8]]) -> Flow {
        let word: &[u8] = match kind {
            Kind::Channel => b"subscribe",
            Kind::Pattern => b"psubscribe",
        };
        for name in names {
            match context.hub.registry.subscribe(self.id, kind, name) {
                Ok(()) => self.confirm(context, word, Some(name)),
                Err(TooManySubscriptions) => {
                    context.error("ERR too many subscriptions: the broker has no memory for more");
                    break;
                }
            }
        }
        Flow::Flush
    }

    /// Without names all of the client's are meant; if it has none, that is confirmed too.
    fn unsubscribe_from(&mut self, context: &mut Context<'_>, kind: Kind, names: &[&[u8]]) -> Flow {
        let word: &[u8] = match kind {
            Kind::Channel => b"unsubscribe",
            Kind::Pattern => b"punsubscribe",
        };
        if !names.is_empty() {
            for name in names {
                context.hub.registry.unsubscribe(self.id, kind, name);
                self.confirm(context, word, Some(name));
            }
            return Flow::Flush;
        }
        let held = context.hub.registry.names(self.id, kind);
        if held.is_empty() {
            self.confirm(context, word, None);
        }
        for name in held {
            context.hub.registry.unsubscribe(self.id, kind, &name);
            self.confirm(context, word, Some(&name));
        }
        Flow::Flush
    }

    fn confirm(&self, context: &mut Context<'_>, word: &[u8], name: Option<&[u8]>) {
        let count = context.hub.registry.count(self.id);
        write_push_header(context.out, self.protocol, 3);
        write_bulk(context.out, word);
        match name {
            Some(name) => write_bulk(context.out, name),
            None => write_null(context.out, self.protocol),
        }
        write_integer(context.out, i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn pubsub_channels(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let pattern = match args {
            [_, _] => None,
            [_, _, pattern] => Some(*pattern),
            _ => {
                return context.error_about(
                    "ERR unknown subcommand or wrong number of arguments for '",
                    args[1],
                    "'. Try PUBSUB HELP.",
                );
            }
        };
        let registry = &context.hub.registry;
        let named: Vec<&[u8]> = registry
            .channels()
            .filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)))
            .collect();
        write_array_header(context.out, named.len());
        for name in named {
            write_bulk(context.out, name);
        }
        Flow::Continue
    }

    pub(super) fn pubsub_numsub(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let channels = &args[2..];
        write_array_header(context.out, channels.len() * 2);
        for channel in channels {
            write_bulk(context.out, channel);
            context.integer(context.hub.registry.subscribers(channel));
        }
        Flow::Continue
    }

    pub(super) fn pubsub_numpat(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.integer(context.hub.pattern_count())
    }

    pub(super) fn ping(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let text = match args {
            [_] => None,
            [_, text] => Some(*text),
            _ => return context.wrong_arity("ping"),
        };
        if self.is_bound(context.hub) {
            write_push_header(context.out, Protocol::Resp2, 2);
            write_bulk(context.out, b"pong");
            write_bulk(context.out, text.unwrap_or_default());
        } else if let Some(text) = text {
            write_bulk(context.out, text);
        } else {
            context.out.extend_from_slice(b"+PONG\r\n");
        }
        Flow::Continue
    }
}
