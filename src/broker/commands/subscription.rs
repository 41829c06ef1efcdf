//! Publishing and subscribing.

use super::{Context, Flow, Session, wrong_arity};
use crate::broker::glob;
use crate::broker::pubsub::{Kind, Registry, TooManySubscriptions};
use crate::resp::{
    Protocol, write_array_header, write_bulk, write_integer, write_null, write_push_header, write_simple,
};

impl Session {
    pub(super) fn publish(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        context.publish(self.id, Kind::Channel, args)
    }

    pub(super) fn spublish(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        context.publish(self.id, Kind::ShardChannel, args)
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

    /// The broker refuses it within a transaction, as Redis does.
    pub(super) fn ssubscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        if context.own_messages.is_some() {
            return context.error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
        }
        self.subscribe_to(context, Kind::ShardChannel, &args[1..])
    }

    pub(super) fn sunsubscribe(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        self.unsubscribe_from(context, Kind::ShardChannel, &args[1..])
    }

    /// Subscribes to each name, and confirms each on its own.
    fn subscribe_to(&mut self, context: &mut Context<'_>, kind: Kind, names: &[&[u8]]) -> Flow {
        let word: &[u8] = match kind {
            Kind::Channel => b"subscribe",
            Kind::Pattern => b"psubscribe",
            Kind::ShardChannel => b"ssubscribe",
        };
        for name in names {
            match context.hub.registry.subscribe(self.id, kind, name) {
                Ok(()) => self.confirm(context, kind, word, Some(name)),
                Err(TooManySubscriptions) => {
                    context.error("ERR too many subscriptions: the broker has no memory for more");
                    break;
                }
            }
        }
        Flow::Flush
    }

    /// Ends these subscriptions, or without `names` all of the client's of this kind, and confirms each. A client that
    /// has none gets one confirmation without a name.
    fn unsubscribe_from(&mut self, context: &mut Context<'_>, kind: Kind, names: &[&[u8]]) -> Flow {
        let word: &[u8] = match kind {
            Kind::Channel => b"unsubscribe",
            Kind::Pattern => b"punsubscribe",
            Kind::ShardChannel => b"sunsubscribe",
        };
        if !names.is_empty() {
            for name in names {
                context.hub.registry.unsubscribe(self.id, kind, name);
                self.confirm(context, kind, word, Some(name));
            }
            return Flow::Flush;
        }
        let held = context.hub.registry.names(self.id, kind);
        if held.is_empty() {
            self.confirm(context, kind, word, None);
        }
        for name in held {
            context.hub.registry.unsubscribe(self.id, kind, &name);
            self.confirm(context, kind, word, Some(&name));
        }
        Flow::Flush
    }

    /// Confirms a change with the number of subscriptions that the client now has. Those to shard channels are counted
    /// separately.
    fn confirm(&self, context: &mut Context<'_>, kind: Kind, word: &[u8], name: Option<&[u8]>) {
        let count_of = |kind| context.hub.registry.count(self.id, kind);
        let count = match kind {
            Kind::Channel | Kind::Pattern => count_of(Kind::Channel) + count_of(Kind::Pattern),
            Kind::ShardChannel => count_of(Kind::ShardChannel),
        };
        write_push_header(context.out, self.protocol, 3);
        write_bulk(context.out, word);
        match name {
            Some(name) => write_bulk(context.out, name),
            None => write_null(context.out, self.protocol),
        }
        write_integer(context.out, i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn pubsub_channels(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let channels = context.hub.registry.channels();
        match matching(channels, args) {
            Some(names) => write_names(context.out, &names),
            None => wrong_subcommand(context, args),
        }
    }

    pub(super) fn pubsub_shardchannels(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let channels = context.hub.registry.shard_channels();
        match matching(channels, args) {
            Some(names) => write_names(context.out, &names),
            None => wrong_subcommand(context, args),
        }
    }

    pub(super) fn pubsub_numsub(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        numbers_of_subscribers(context, &args[2..], Registry::subscribers)
    }

    pub(super) fn pubsub_shardnumsub(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        numbers_of_subscribers(context, &args[2..], |registry, channel| {
            registry.shard_receivers(channel).len()
        })
    }

    pub(super) fn pubsub_numpat(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.integer(context.hub.pattern_count())
    }

    pub(super) fn pubsub_help(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        write_array_header(context.out, PUBSUB_HELP.len());
        for line in PUBSUB_HELP {
            write_simple(context.out, line.as_bytes());
        }
        Flow::Continue
    }

    pub(super) fn ping(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let text = match args {
            [_] => None,
            [_, text] => Some(*text),
            _ => return context.error(wrong_arity("ping")),
        };
        if self.is_resp2_subscriber(context.hub) {
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

/// Redis 7's answer to `PUBSUB HELP`.
const PUBSUB_HELP: [&str; 14] = [
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Prints this help.",
];

/// The names that match the pattern of `PUBSUB CHANNELS` or `SHARDCHANNELS`, or all if there is none. `None` for a
/// command with several patterns.
fn matching<'r>(names: impl Iterator<Item = &'r [u8]>, args: &[&[u8]]) -> Option<Vec<&'r [u8]>> {
    match args {
        [_, _] => Some(names.collect()),
        [_, _, pattern] => Some(names.filter(|name| glob::matches(pattern, name)).collect()),
        _ => None,
    }
}

fn write_names(out: &mut Vec<u8>, names: &[&[u8]]) -> Flow {
    write_array_header(out, names.len());
    names.iter().for_each(|name| write_bulk(out, name));
    Flow::Continue
}

fn wrong_subcommand(context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    context.error_about(before, args[1], "'. Try PUBSUB HELP.")
}

/// Answers with each channel and its number of subscribers.
fn numbers_of_subscribers(
    context: &mut Context<'_>,
    channels: &[&[u8]],
    subscribers: fn(&Registry, &[u8]) -> usize,
) -> Flow {
    write_array_header(context.out, channels.len() * 2);
    for channel in channels {
        write_bulk(context.out, channel);
        context.integer(subscribers(&context.hub.registry, channel));
    }
    Flow::Continue
}
