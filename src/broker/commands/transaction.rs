//! `MULTI` to `EXEC`: commands that are queued and then run together, without other clients' commands between them.
//!
//! They run under the broker's lock. So the broker's subscribers get their messages together, and the gateway gets
//! their events as one batch. The memory of the queued commands is bounded, and so is the reply to `EXEC`.

use super::table::Spec;
use super::{Context, Flow, Session};
use crate::resp::write_array_header;

/// Commands that are never queued.
pub(super) const AT_ONCE: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];

/// Commands that affect other clients, or what the broker keeps for them. They also run once the reply has grown too long and the
/// client's connection is to end: a transaction takes effect whole or not at all.
const ACT_ON_OTHERS: [&str; 8] =
    ["publish", "spublish", "client|kill", "xadd", "xdel", "xgroup|create", "pexpire", "del"];

/// The bound for one client's queued commands: about 40,000 trades.
const QUEUED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The memory of a queued command besides its words.
const COMMAND_BYTES: usize = size_of::<Queued>();
/// The memory of a word besides its bytes.
const WORD_BYTES: usize = size_of::<usize>();

/// The commands that a client has queued since its `MULTI`.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// The words of all commands, one behind the other.
    bytes: Vec<u8>,
    /// Where each word ends in `bytes`.
    word_ends: Vec<usize>,
    commands: Vec<Queued>,
    /// Whether a command was refused. Then `EXEC` is refused too.
    refused: bool,
}

#[derive(Debug)]
struct Queued {
    spec: &'static Spec,
    /// Where its words end in [`Transaction::word_ends`].
    words_end: usize,
}

impl Transaction {
    fn push(&mut self, spec: &'static Spec, args: &[&[u8]]) {
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.word_ends.push(self.bytes.len());
        }
        self.commands.push(Queued { spec, words_end: self.word_ends.len() });
    }

    /// Calls `run` with each command in turn.
    fn for_each(&self, mut run: impl FnMut(&'static Spec, &[&[u8]])) {
        let (mut words, mut start, mut args) = (self.word_ends.as_slice(), 0, Vec::new());
        let mut words_start = 0;
        for command in &self.commands {
            let (own, rest) = words.split_at(command.words_end - words_start);
            args.clear();
            for &end in own {
                args.push(&self.bytes[start..end]);
                start = end;
            }
            run(command.spec, &args);
            (words, words_start) = (rest, command.words_end);
        }
    }
}

impl Session {
    pub(super) fn multi(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        if self.transaction.is_some() {
            return context.error("ERR MULTI calls can not be nested");
        }
        self.transaction = Some(Transaction::default());
        self.edit_peer(context, |peer| peer.queued_commands = Some(0));
        context.ok()
    }

    pub(super) fn discard(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        if self.transaction.is_none() {
            return context.error("ERR DISCARD without MULTI");
        }
        self.end_transaction(context);
        context.ok()
    }

    /// Has no effect: the broker keeps nothing but inboxes, and `EXEC` runs also if a watched one has changed.
    pub(super) fn watch(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        if self.transaction.is_some() {
            return context.error("ERR WATCH inside MULTI is not allowed");
        }
        context.ok()
    }

    pub(super) fn unwatch(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        context.ok()
    }

    /// Queues a command that has been checked.
    pub(super) fn queue(&mut self, context: &mut Context<'_>, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        let bytes = COMMAND_BYTES + args.iter().map(|arg| arg.len() + WORD_BYTES).sum::<usize>();
        let queued_bytes = self.queued_bytes(context);
        let Some(transaction) = &mut self.transaction else { return Flow::Continue };
        // After a refused command none will run, so the further ones aren't kept.
        if !transaction.refused {
            if queued_bytes + bytes > QUEUED_BYTES_MAX || !context.hub.reserve_queued(self.id, bytes) {
                let text = format!(
                    "OOM command not allowed: a transaction may take {QUEUED_BYTES_MAX} bytes of memory"
                );
                return self.refuse(context, text.as_bytes());
            }
            transaction.push(spec, args);
            let commands = transaction.commands.len();
            self.edit_peer(context, |peer| peer.queued_commands = Some(commands));
        }
        context.out.extend_from_slice(b"+QUEUED\r\n");
        Flow::Continue
    }

    /// Answers a command that may not run with an error. Within a transaction this also makes `EXEC` fail; a refused
    /// `EXEC` ends the transaction.
    pub(super) fn refuse(&mut self, context: &mut Context<'_>, error: &[u8]) -> Flow {
        if self.last_command == Some("exec") {
            self.end_transaction(context);
            let mut text = b"EXECABORT Transaction discarded because of: ".to_vec();
            text.extend_from_slice(error.strip_prefix(b"ERR ").unwrap_or(error));
            return context.error(text);
        }
        if self.transaction.is_some() {
            self.end_transaction(context);
            self.transaction = Some(Transaction { refused: true, ..Transaction::default() });
            self.edit_peer(context, |peer| peer.queued_commands = Some(0));
        }
        context.error(error)
    }

    /// Runs the queued commands.
    pub(super) fn exec(&mut self, context: &mut Context<'_>, _args: &[&[u8]]) -> Flow {
        let Some(transaction) = self.transaction.take() else {
            return context.error("ERR EXEC without MULTI");
        };
        if transaction.refused {
            self.end_transaction(context);
            return context.error("EXECABORT Transaction discarded because of previous errors.");
        }
        write_array_header(context.out, transaction.commands.len());
        context.own_messages = Some(Vec::new());
        let mut flow = Flow::Continue;
        transaction.for_each(|spec, args| flow = self.run_queued(context, spec, args, flow));
        self.edit_peer(context, |peer| peer.queued_commands = None);
        context.turn.executed_bytes = context.hub.peer(self.id).map_or(0, |peer| peer.queued_bytes);
        match context.own_messages.take() {
            Some(mut messages) if !messages.is_empty() => {
                context.out.append(&mut messages);
                if flow == Flow::Continue { Flow::Flush } else { flow }
            }
            _ => flow,
        }
    }

    /// Runs one command of a transaction. `flow` is the result of the commands before it; returns that of all so far.
    fn run_queued(
        &mut self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        flow: Flow,
    ) -> Flow {
        if flow == Flow::Close && !ACT_ON_OTHERS.contains(&spec.name) {
            return flow;
        }
        let reply_start = context.out.len();
        let own_flow = (spec.run)(self, context, args);
        let messages = context.own_messages.get_or_insert_default();
        if flow == Flow::Close {
            // The connection ends, so this reply would never be sent.
            context.out.truncate(reply_start);
            messages.clear();
            return flow;
        }
        if context.out.len() + messages.len() > context.settings.output.hard_bytes {
            // The client's outbox will refuse so long a reply.
            return Flow::Close;
        }
        match (flow, own_flow) {
            (_, Flow::Close) => Flow::Close,
            (Flow::Flush, _) | (_, Flow::Flush) => Flow::Flush,
            _ => Flow::Continue,
        }
    }

    /// Drops the queued commands and leaves the transaction.
    pub(super) fn end_transaction(&mut self, context: &mut Context<'_>) {
        self.transaction = None;
        let bytes = self.queued_bytes(context);
        context.hub.release_queued(self.id, bytes);
        self.edit_peer(context, |peer| peer.queued_commands = None);
    }

    /// Memory of this transaction's commands. That of earlier transactions of this turn is released at its end.
    fn queued_bytes(&self, context: &Context<'_>) -> usize {
        context.hub.peer(self.id).map_or(0, |peer| peer.queued_bytes - context.turn.executed_bytes)
    }
}
