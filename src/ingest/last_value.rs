//! Last values that workers keep in Redis (`LAST_VALUE_KEY`), for topics of which this gateway has seen no event yet.
//!
//! One task on the control side with a connection of its own: the feed and the answer to the client that asks wait for nothing here.
//! What can't be looked up counts as not there, and is looked up again when somebody asks the next time.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::Command;
use crate::bus::inbox::Sender;
use crate::limits;
use crate::market::{EventType, EventTypes, Subject};

/// What stands for the type in `LAST_VALUE_KEY`.
const TYPE: &str = "{type}";

/// The types whose last values workers keep: with `{type}` in `LAST_VALUE_KEY` all, otherwise trades.
pub fn types_kept(prefix: &str, configured: EventTypes) -> EventTypes {
    let kept = |event_type: &EventType| prefix.contains(TYPE) || *event_type == EventType::Trade;
    configured.iter().filter(kept).collect()
}

/// A value that was looked up; `None` = there is none.
pub type Found = (Subject, Option<Vec<u8>>);

/// Looks up what ingest asks for, until `shutdown`.
pub async fn run(
    client: Client,
    prefix: String,
    mut asked: UnboundedReceiver<Vec<Subject>>,
    ingest: Sender<Command>,
    shutdown: CancellationToken,
) {
    let mut connection = None;
    while let Some(Some(mut subjects)) = shutdown.run_until_cancelled(asked.recv()).await {
        while subjects.len() < limits::LAST_VALUE_KEYS_MAX
            && let Ok(more) = asked.try_recv()
        {
            subjects.extend(more);
        }
        let mut subjects = subjects.into_iter().peekable();
        while subjects.peek().is_some() {
            let some: Vec<_> = subjects.by_ref().take(limits::LAST_VALUE_KEYS_MAX).collect();
            let outcome =
                shutdown.run_until_cancelled(look_up(&client, &mut connection, &prefix, &some)).await;
            let Some(outcome) = outcome else { return };
            let failed = outcome.is_err();
            let values = outcome.unwrap_or_else(|error| {
                connection = None;
                tracing::warn!(%error, keys = some.len(), "last values could not be looked up");
                vec![None; some.len()]
            });
            // Ingest ends after this task's reason to be does.
            let _ =
                ingest.send(Command::LookedUp { found: some.into_iter().zip(values).collect(), failed }, 0);
        }
    }
}

async fn look_up(
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
    prefix: &str,
    subjects: &[Subject],
) -> RedisResult<Vec<Option<Vec<u8>>>> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(limits::UPSTREAM_STEP_TIMEOUT))
                .set_response_timeout(Some(limits::UPSTREAM_STEP_TIMEOUT));
            connection.insert(client.get_multiplexed_async_connection_with_config(&config).await?)
        }
    };
    redis::cmd("MGET").arg(keys(prefix, subjects)).query_async(connection).await
}

fn keys(prefix: &str, subjects: &[Subject]) -> Vec<String> {
    let key =
        |subject: &Subject| format!("{}{}", prefix.replace(TYPE, subject.event_type.as_str()), subject.name);
    subjects.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_prefix_and_the_symbol() {
        let all: EventTypes = EventType::ALL.into_iter().collect();
        assert_eq!(types_kept("last:trade:", all), EventTypes::TRADE);
        assert_eq!(types_kept("last:{type}:", all), all);
        let subject = |event_type| Subject::parse(event_type, b"btc-usd").unwrap();
        let subjects = [subject(EventType::Trade), subject(EventType::Quote)];
        assert_eq!(keys("last:{type}:", &subjects), ["last:trade:BTC-USD", "last:quote:BTC-USD"]);
        assert_eq!(keys("x", &subjects[..1]), ["xBTC-USD"]);
    }
}
