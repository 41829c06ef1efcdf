//! Commands about the server.

use std::time::UNIX_EPOCH;

use super::connection::DATABASES;
use super::table::COMMANDS;
use super::{Context, Flow, REDIS_VERSION, Session, Settings};
use crate::broker::streams::Streams;
use crate::broker::{BULK_BYTES_MAX, COMMAND_BYTES_MAX, KEEPALIVE, OutputLimits, glob};
use crate::resp::{write_array_header, write_bulk, write_map_header, write_null, write_verbatim};

impl Session {
    /// Clients read the table of commands to find the keys among the arguments. The broker has no keys, so the table
    /// is empty.
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

    /// Seconds and microseconds since 1970.
    pub(super) fn time(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        let since = context.turn.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        write_array_header(context.out, 2);
        write_bulk(context.out, since.as_secs().to_string().as_bytes());
        write_bulk(context.out, since.subsec_micros().to_string().as_bytes());
        Flow::Continue
    }

    pub(super) fn dbsize(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        let streams = context.hub.streams.as_ref().map_or(0, Streams::len);
        context.integer(streams)
    }

    /// Answers with the parameters that match any of the patterns, each once.
    pub(super) fn config_get(&mut self, context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
        let patterns: Vec<_> = args[2..].iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        let mut found = parameters(context.settings);
        found.retain(|(name, _)| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes())));
        write_map_header(context.out, self.protocol, found.len());
        for (name, value) in found {
            write_bulk(context.out, name.as_bytes());
            write_bulk(context.out, value.as_bytes());
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
            ("Clients", format!("connected_clients:{}\r\n", context.hub.peers().count())),
            // Some clients send nothing before they have read `loading:0`.
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

/// The parameters of `CONFIG GET`: the broker's own settings, and the values that libraries and dashboards ask for, as
/// in a Redis without persistence, replicas and keys. The password is not among them.
fn parameters(settings: &Settings) -> Vec<(&'static str, String)> {
    let OutputLimits { hard_bytes, soft_bytes, soft_for } = settings.output;
    let output = format!("{hard_bytes} {soft_bytes} {}", soft_for.as_secs());
    let own = [
        ("bind", settings.host.to_string()),
        ("port", settings.port.to_string()),
        ("databases", DATABASES.to_string()),
        ("maxclients", settings.clients_max.to_string()),
        ("tcp-keepalive", KEEPALIVE.as_secs().to_string()),
        ("proto-max-bulk-len", BULK_BYTES_MAX.to_string()),
        ("client-query-buffer-limit", COMMAND_BYTES_MAX.to_string()),
        ("client-output-buffer-limit", format!("normal {output} slave 0 0 0 pubsub {output}")),
    ];
    let of_any = [
        ("timeout", "0"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
        ("appendonly", "no"),
        ("cluster-enabled", "no"),
        ("notify-keyspace-events", ""),
        ("replica-read-only", "yes"),
        ("slave-read-only", "yes"),
    ];
    own.into_iter().chain(of_any.map(|(name, value)| (name, value.to_owned()))).collect()
}
