//! The control side's answers to the shards.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::auth::Auth;
use crate::bus::ToControl;
use crate::fanout::Fanout;
use crate::identity::User;
use crate::state::State;

/// Answers what shards ask, until the last of them has ended, and counts their users.
pub(super) async fn run(
    mut told: mpsc::UnboundedReceiver<ToControl>,
    auth: Arc<Auth>,
    fanout: Arc<Fanout>,
    state: Arc<State>,
) {
    let mut connections = HashMap::<User, usize>::new();
    while let Some(told) = told.recv().await {
        match told {
            ToControl::Verify { shard, ticket, token } => {
                let result = auth.verify(token.as_str());
                if let Err(error) = &result {
                    auth.refused(error);
                }
                fanout.answer(shard, ticket, result.map_err(|error| error.to_string()));
            }
            ToControl::Came(user) => *connections.entry(user).or_default() += 1,
            ToControl::Gone(user) => {
                if let Entry::Occupied(mut count) = connections.entry(user) {
                    *count.get_mut() -= 1;
                    if *count.get() == 0 {
                        count.remove();
                    }
                }
            }
        }
        state.set_users_online(connections.len() as u64);
    }
}
