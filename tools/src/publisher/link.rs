//! The connection to Redis: pipelines that are acknowledged, and the way back when it is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo as _, RedisError, ServerError};
use tokio::time::Instant;
use ws_gateway::backoff::Backoff;
use ws_gateway::config::redact_url;

use super::source::Batch;
use crate::term::{clean, tell};
use crate::{PAUSE_MAX, PAUSE_MIN};

/// A Redis that hasn't taken a connection by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A Redis that hasn't answered a pipeline by then is away: this is how a link that died silently is found.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Redis, connected or being connected to.
#[derive(Debug)]
pub struct Link {
    client: Client,
    connection: Option<MultiplexedConnection>,
    backoff: Backoff,
    /// Since when Redis has been away.
    lost: Option<Instant>,
}

/// A batch that Redis has taken.
#[derive(Debug)]
pub struct Published {
    /// To how many subscribers each event went, in the order of the batch.
    pub receivers: Vec<u64>,
    /// Redis was away in between.
    pub outage: bool,
}

impl Link {
    /// Takes the address; nothing is connected before the first batch.
    ///
    /// # Errors
    /// If it is no address of a Redis.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let info = url.into_connection_info().with_context(|| bad_url(url))?;
        // Nagle's algorithm would hold a lone event back until the previous one is acknowledged.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).with_context(|| bad_url(url))?;
        Ok(Self { client, connection: None, backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX), lost: None })
    }

    /// Where Redis is, without user and password.
    pub fn address(&self) -> String {
        format!("redis at {}", self.client.get_connection_info().addr())
    }

    /// Publishes the batch, however long Redis stays away. What was not acknowledged is sent again.
    ///
    /// # Errors
    /// If Redis refuses us in a way that waiting doesn't mend (password, permission).
    pub async fn publish(&mut self, batch: &Batch) -> anyhow::Result<Published> {
        let mut pipeline = redis::pipe();
        for message in batch.messages() {
            // Before the event itself: whoever looks for the last value because of it finds it.
            if let Some(key) = &message.last_value_key {
                pipeline.set(key, &message.payload[..]).ignore();
            }
            pipeline.publish(&message.channel, &message.payload[..]);
        }
        loop {
            match self.attempt(&pipeline).await {
                Ok(receivers) => return Ok(Published { receivers, outage: self.is_back() }),
                Err(error) if is_final(&error) => bail!(
                    "{} refuses us: {}; check user, password and permissions in --redis-url (REDIS_URL)",
                    self.address(),
                    describe(&error)
                ),
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    async fn attempt(&mut self, pipeline: &redis::Pipeline) -> Result<Vec<u64>, RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(ANSWER_TIMEOUT));
                self.client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        let receivers = pipeline.query_async(&mut connection).await?;
        self.connection = Some(connection);
        Ok(receivers)
    }

    async fn wait_after(&mut self, error: &RedisError) {
        let wait = self.backoff.next_pause_between(0.0, &mut fastrand::Rng::new());
        let what = if self.lost.is_none() { "cannot publish to" } else { "still no" };
        let (address, why, wait_s) = (self.address(), describe(error), wait.as_secs_f64());
        tell(format_args!("{what} {address}: {why}; next attempt in {wait_s:.1} s"));
        self.lost.get_or_insert_with(Instant::now);
        tokio::time::sleep(wait).await;
    }

    /// Notes that Redis works; true if it was away before.
    fn is_back(&mut self) -> bool {
        self.backoff.reset();
        let Some(lost) = self.lost.take() else { return false };
        let away_s = lost.elapsed().as_secs_f64();
        tell(format_args!("{} is there after {away_s:.1} s; going on", self.address()));
        true
    }
}

fn bad_url(url: &str) -> String {
    format!(
        "--redis-url (REDIS_URL) {:?} is no address of a Redis; it looks like redis://127.0.0.1:6379, \
         rediss://user:password@host:6380 or unix:///run/redis/redis.sock",
        redact_url(url)
    )
}

/// Whether the same attempt would fail for ever.
fn is_final(error: &RedisError) -> bool {
    let refused = |code: &str| matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM");
    let kind = error.kind();
    kind == ErrorKind::AuthenticationFailed
        || kind == ErrorKind::InvalidClientConfig
        || answers(error).iter().any(|(_, answer)| refused(answer.code()))
}

/// What went wrong, once: a pipeline tells it of each of its commands.
fn describe(error: &RedisError) -> String {
    let why = match answers(error).first() {
        Some((_, answer)) => format!("{} {}", answer.code(), answer.details().unwrap_or_default()),
        None => error.to_string(),
    };
    clean(&why, 400)
}

/// Redis' error answers to the commands of a pipeline.
fn answers(error: &RedisError) -> Arc<[(usize, ServerError)]> {
    error.clone().into_server_errors().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_address_is_named_without_its_password() {
        let error = format!("{:#}", Link::open("http://me:secret@host/").unwrap_err());
        assert!(
            error.contains("http://***@host/") && error.contains("unix://") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn the_address_shown_has_no_password() {
        let address = |url| Link::open(url).unwrap().address();
        assert_eq!(address("redis://me:secret@db:7000/3"), "redis at db:7000");
        assert_eq!(address("rediss://:secret@db:7000"), "redis at db:7000");
        assert_eq!(address("unix:///run/redis.sock"), "redis at /run/redis.sock");
    }
}
