//! People in rooms, and the tokens that connections show.

use anyhow::{bail, ensure};
use clap::Args;
use tools::token::sign::{self, KeyOptions};

use super::{CONNECTIONS_MAX, Options, Plan, Rate};
use crate::desk::Desk;
use crate::dialect::Dialect;
use crate::preset::Talk;

/// As many rooms, and members of one.
const ROOMS_MAX: u32 = 100_000;
/// What says nothing where people talk in rooms.
const TRADES_ONLY: [&str; 6] = ["connections", "symbols", "subscribe", "burst", "burst_every", "churn"];

/// Who talks, and who connections are.
#[derive(Debug, Clone, Args)]
pub struct People {
    /// Rooms, of the presets that have them, in place of connections and symbols
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ROOMS_MAX)),
          conflicts_with_all = TRADES_ONLY)]
    pub rooms: Option<u32>,
    /// Members of each room, every one a user of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ROOMS_MAX)),
          conflicts_with_all = TRADES_ONLY)]
    pub members: Option<u32>,
    /// How many of the members talk, in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000),
          conflicts_with_all = TRADES_ONLY)]
    pub talkers: Option<u32>,
    /// What signs a token for each connection.
    #[command(flatten, next_help_heading = "A token for each connection, of user-0, user-1 and so on")]
    pub key: KeyOptions,
}

impl Options {
    /// The rooms of a preset, with what is said otherwise.
    pub(super) fn desk<D: Dialect>(&self, talk: Option<Talk>) -> anyhow::Result<Option<Desk>> {
        let People { rooms, members, talkers, .. } = self.people;
        let Some(talk) = talk else {
            ensure!(
                (rooms, members, talkers) == (None, None, None),
                "--rooms, --members and --talkers want --preset rooms or --preset lobby"
            );
            return Ok(None);
        };
        ensure!(D::HAS_ROOMS, "--form {}: there are no rooms in it", D::FORM.word());
        let trades = [self.connections, self.symbols, self.subscribe, self.burst, self.churn];
        ensure!(
            trades.iter().all(Option::is_none) && self.burst_every.is_none(),
            "--preset {}: its size is said by --rooms, --members, --talkers and --rate",
            self.preset.name()
        );
        let per_second = match self.rate {
            None => talk.per_second,
            Some(Rate::PerSecond(per_second)) => per_second,
            Some(Rate::None | Rate::Unbounded) => bail!("--rate: rooms want messages a second"),
        };
        let (rooms, members) = (rooms.unwrap_or(talk.rooms), members.unwrap_or(talk.members));
        let connections = u64::from(rooms) * u64::from(members);
        ensure!(
            connections <= u64::from(CONNECTIONS_MAX),
            "--rooms {rooms} --members {members} are {connections} connections; at most {CONNECTIONS_MAX}"
        );
        Ok(Some(Desk::new(rooms, members, talkers.unwrap_or(talk.talkers), per_second)))
    }
}

impl Plan {
    /// A token for each connection, if any shows one.
    ///
    /// # Errors
    /// If there is no such key, or it can't sign.
    pub fn tokens(&self) -> anyhow::Result<Vec<String>> {
        let Some(signer) = &self.signer else { return Ok(Vec::new()) };
        sign::for_users(signer, (0..self.crowd.connections).map(|n| format!("user-{n}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use crate::pace::Pace;

    #[test]
    fn rooms_have_a_size_of_their_own() {
        let desk = |arguments: &[&str]| plan(arguments).unwrap().crowd.desk.unwrap();
        let plan_of = plan(&["--preset", "rooms"]).unwrap();
        assert_eq!((plan_of.crowd.connections, plan_of.crowd.symbols), (10_000, 10_000));
        assert_eq!(plan_of.pace(), Some(Pace::Steady { per_second: 5000.0 }));
        let at_a_rate = plan(&["--preset", "rooms", "--rate", "10"]).unwrap();
        assert!(at_a_rate.feed.is_none(), "nobody trades");
        let lobby = desk(&["--preset", "lobby", "--members", "70", "--rate", "10"]);
        assert_eq!((lobby.connections(), lobby.talkers, lobby.every_ns), (70, 10, 100_000_000));
        for (arguments, word) in [
            (&["--preset", "lobby", "--connections", "5"][..], "--members"),
            (&["--preset", "lobby", "--rate", "max"], "--rate"),
            (&["--preset", "rooms", "--rooms", "100000", "--members", "100000"], "connections"),
            (&["--rooms", "5", "--connections", "5"], "--connections"),
            (&["--talkers", "5"], "--preset rooms"),
        ] {
            let error = format!("{:#}", plan(arguments).unwrap_err());
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
    }
}
