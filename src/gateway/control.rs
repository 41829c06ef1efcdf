//! The control side's answers to the shards.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admission::{Admission, UserAdmitted};
use crate::auth::{Auth, AuthError, Patience};
use crate::bus::{Adopt, Denied, ToControl, Verified};
use crate::fanout::Fanout;
use crate::identity::Identity;
use crate::protocol::refusal::ErrorCode;
use crate::state::State;

/// What it takes to answer a shard.
pub(super) struct Answers {
    pub(super) auth: Arc<Auth>,
    pub(super) admission: Arc<Admission>,
    pub(super) fanout: Arc<Fanout>,
    pub(super) state: Arc<State>,
}

impl Answers {
    /// Answers what shards ask, until the last of them has ended. A token whose key is being fetched is set aside meanwhile; all others are
    /// verified, and get their places among their users' connections, one after the other.
    pub(super) async fn run(self, mut told: mpsc::UnboundedReceiver<ToControl>) {
        let mut waiting = JoinSet::new();
        loop {
            let (asked, patience) = tokio::select! {
                asked = told.recv() => (asked, Patience::Left),
                Some(Ok(asked)) = waiting.join_next() => (Some(asked), Patience::Gone),
            };
            let Some(asked) = asked else { return };
            // What is of the desk goes elsewhere.
            let ToControl::Verify { shard, ticket, token, has_seat } = &asked else { continue };
            match self.auth.verify_token(token, patience) {
                Err(AuthError::KeyWanted) => {
                    let auth = Arc::clone(&self.auth);
                    waiting.spawn(async move {
                        auth.keys_fetched().await;
                        asked
                    });
                }
                verdict => self.fanout.answer(*shard, *ticket, self.admit(verdict, *has_seat)),
            }
        }
    }

    /// Gives the holder of a token a place among the connections of its user, unless the connection has one.
    fn admit(&self, verdict: Result<Arc<Identity>, AuthError>, has_seat: bool) -> Result<Verified, Denied> {
        let identity = verdict.map_err(|error| {
            self.auth.refused(&error);
            Denied::token(error.to_string())
        })?;
        let Some(user) = identity.user.as_ref().filter(|_| !has_seat) else {
            return Ok(Verified { identity, seat: None });
        };
        let now_us = self.state.metrics.uptime_us();
        let admitted = self.admission.admit_user(user, now_us);
        let UserAdmitted { seat, replaces } = admitted
            .map_err(|limit| Denied { code: ErrorCode::TooManyConnections, why: limit.to_string() })?;
        if let Some(number) = replaces {
            self.state.metrics.control.connections_replaced.add_shared(1);
            self.fanout.replace(number);
        }
        Ok(Verified { identity, seat: Some(seat) })
    }
}
