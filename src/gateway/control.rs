//! The control side's answers to the shards.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admission::{Admission, UserAdmitted};
use crate::auth::Auth;
use crate::bus::{Adopt, Denied, ToControl, Verified};
use crate::fanout::Fanout;
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
    /// Answers what shards ask, until the last of them has ended.
    pub(super) async fn run(self, mut told: mpsc::UnboundedReceiver<ToControl>) {
        while let Some(ToControl::Verify { shard, ticket, token, has_seat }) = told.recv().await {
            self.fanout.answer(shard, ticket, self.verify(token.as_str(), has_seat));
        }
    }

    /// Who the holder of a token is, with a place among the connections of that user, unless the connection has one.
    fn verify(&self, token: &str, has_seat: bool) -> Result<Verified, Denied> {
        let identity = self.auth.verify(token).map_err(|error| {
            self.auth.refused(&error);
            Denied::token(error.to_string())
        })?;
        let Some(user) = identity.user.as_ref().filter(|_| !has_seat) else {
            return Ok(Verified { identity, seat: None });
        };
        let now_us = self.state.metrics.started.elapsed().as_micros() as u64;
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
