//! The keys of a key server (`JWKS_URL`, or a discovered `JWT_ISSUER`), fetched again and again.
//!
//! One task fetches them: at the start, when they aren't fresh any more, on SIGHUP, and when a token's `kid` is not among them. Strangers
//! can write any `kid`, so these fetches have a rate of their own, and all tokens that come meanwhile wait for the same one. The last good
//! set stays in use however long its server fails.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use url::Url;

use super::fetch::{FetchError, Fetcher, within};
use super::key_set::KeySet;
use crate::backoff::Backoff;
use crate::config::key_server::{KeyPace, KeyServer, discovered_keys};
use crate::metrics::KeyFetch;
use crate::state::State;

/// How much of another issuer's name is repeated in the log.
const SHOWN_CHARS: usize = 120;

/// A key server, and the keys that were last fetched from it.
#[derive(Debug)]
pub struct RemoteKeys {
    server: KeyServer,
    pace: KeyPace,
    tls: Arc<ClientConfig>,
    /// `None` until a fetch has succeeded.
    current: RwLock<Option<Arc<KeySet>>>,
    progress: watch::Sender<Progress>,
    state: Arc<State>,
}

/// How far fetching is.
#[derive(Debug)]
struct Progress {
    /// Whether a fetch is under way, or is about to begin.
    is_under_way: bool,
    /// When the last one began.
    began: Option<Instant>,
}

/// What a fetch brings.
struct Fetched {
    set: KeySet,
    /// A hash of the document.
    content: u64,
    /// For how long the set is kept.
    fresh_for: Duration,
}

impl RemoteKeys {
    /// The keys of that server, none of which are fetched yet: that is about to begin ([`RemoteKeys::run`]).
    pub fn new(server: KeyServer, pace: KeyPace, tls: Arc<ClientConfig>, state: Arc<State>) -> Self {
        let progress = watch::Sender::new(Progress { is_under_way: true, began: None });
        Self { server, pace, tls, current: RwLock::default(), progress, state }
    }

    /// The setting that names the server.
    pub const fn setting(&self) -> &'static str {
        match self.server {
            KeyServer::KeySet(_) => "JWKS_URL",
            KeyServer::Issuer { .. } => "JWT_ISSUER",
        }
    }

    /// The keys that count; `None` before the first fetch that succeeds.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that a token's key is not among them. Returns whether it may be soon: a fetch is under way, or now begins.
    pub fn want(&self) -> bool {
        let mut is_coming = true;
        self.progress.send_if_modified(|progress| {
            if progress.is_under_way {
                return false;
            }
            let interval = self.pace.unknown_key_interval;
            is_coming = progress.began.is_none_or(|began| began.elapsed() >= interval);
            progress.is_under_way = is_coming;
            is_coming
        });
        is_coming
    }

    /// Waits until no fetch is under way, for as long as a token may wait.
    pub async fn fetched(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is this one's own.
        let _ = timeout(self.pace.wait, progress.wait_for(|progress| !progress.is_under_way)).await;
    }

    /// Fetches keys, again and again, until `ending`; at once when `asked` changes.
    pub async fn run(self: Arc<Self>, mut asked: watch::Receiver<()>, ending: CancellationToken) {
        let mut fetcher = Fetcher::new(Arc::clone(&self.tls));
        let mut backoff = Backoff::new(self.pace.backoff_min, self.pace.backoff_max);
        let mut rng = fastrand::Rng::new();
        let mut content = None;
        let mut ended = pin!(ending.cancelled());
        loop {
            self.begin();
            let pause = tokio::select! {
                () = &mut ended => break,
                outcome = self.fetch(&mut fetcher) => match outcome {
                    Ok(fetched) => {
                        backoff.reset();
                        let is_new = content.replace(fetched.content) != Some(fetched.content);
                        self.take(fetched, is_new)
                    }
                    Err((url, error)) => {
                        let pause = backoff.next_pause_between(0.5, &mut rng);
                        self.note_failure(&url, &error, pause);
                        pause
                    }
                },
            };
            self.end();
            tokio::select! {
                biased;
                () = &mut ended => return,
                () = self.wanted() => {}
                Ok(()) = asked.changed() => {}
                () = sleep(pause) => {}
            }
        }
        self.end();
    }

    /// Fetches keys once, for a program that serves nobody.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn fetch_once(&self) -> anyhow::Result<()> {
        self.begin();
        let outcome = self.fetch(&mut Fetcher::new(Arc::clone(&self.tls))).await;
        let outcome = outcome.map(|fetched| self.take(fetched, true));
        self.end();
        outcome.map(drop).map_err(|(url, error)| anyhow::Error::new(error).context(url.to_string()))
    }

    fn begin(&self) {
        self.progress.send_modify(|progress| {
            *progress = Progress { is_under_way: true, began: Some(Instant::now()) };
        });
    }

    fn end(&self) {
        self.progress.send_modify(|progress| progress.is_under_way = false);
    }

    /// Waits until a token has asked for a fetch.
    async fn wanted(&self) {
        let _ = self.progress.subscribe().wait_for(|progress| progress.is_under_way).await;
    }

    /// Fetches the key set, after the document that says where it is, if there is one. An error comes with the address that failed.
    async fn fetch(&self, fetcher: &mut Fetcher) -> Result<Fetched, (Url, FetchError)> {
        let mut asked = match &self.server {
            KeyServer::KeySet(url) | KeyServer::Issuer { document: url, .. } => Cow::Borrowed(url),
        };
        let fetching = async {
            if let KeyServer::Issuer { issuer, document } = &self.server {
                asked = Cow::Owned(discover(fetcher, issuer, document).await?);
            }
            let document = fetcher.fetch(&asked).await?;
            let set =
                KeySet::parse(&document.bytes).map_err(|error| FetchError::Unusable(error.to_string()))?;
            let mut content = DefaultHasher::new();
            content.write(&document.bytes);
            Ok(Fetched {
                set,
                content: content.finish(),
                fresh_for: kept_for(document.fresh_for, &self.pace),
            })
        };
        let outcome = within(self.pace.timeout, fetching).await;
        outcome.map_err(|error| (asked.into_owned(), error))
    }

    /// Takes a set into use. Returns for how long.
    fn take(&self, fetched: Fetched, is_new: bool) -> Duration {
        let Fetched { set, fresh_for, .. } = fetched;
        let (keys, ignored, surplus) = (set.len(), set.ignored, set.surplus);
        let fresh_s = fresh_for.as_secs();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(set));
        let control = &self.state.metrics.control;
        self.count(KeyFetch::Taken);
        control.keys_fetched.set(keys as u64);
        control.keys_fetched_ms.set(self.state.metrics.uptime_ms().max(1));
        if !is_new {
            debug!(keys, fresh_s, "keys fetched again: they are the same");
            return fresh_for;
        }
        info!(url = %self.url(), keys, ignored, fresh_s, "keys fetched");
        if surplus > 0 {
            warn!(url = %self.url(), keys, surplus, "the key set is too large: only its first keys count");
        }
        fresh_for
    }

    fn note_failure(&self, url: &Url, error: &FetchError, pause: Duration) {
        self.count(error.result());
        let next_ms = pause.as_millis() as u64;
        if self.current().is_some() {
            warn!(%url, %error, next_ms, "keys can't be fetched: those that were fetched last still count");
        } else {
            warn!(%url, %error, next_ms, "keys can't be fetched: tokens are refused until they are");
        }
    }

    fn count(&self, result: KeyFetch) {
        self.state.metrics.control.key_fetches[result as usize].add_shared(1);
    }

    /// What the configuration names.
    fn url(&self) -> &Url {
        match &self.server {
            KeyServer::KeySet(url) | KeyServer::Issuer { document: url, .. } => url,
        }
    }
}

/// What an issuer says of itself (OpenID Connect Discovery 1.0 section 3), as far as it concerns its keys.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Where an issuer's keys are.
async fn discover(fetcher: &mut Fetcher, issuer: &str, url: &Url) -> Result<Url, FetchError> {
    let document = fetcher.fetch(url).await?;
    let unusable = |why: String| FetchError::Unusable(why);
    let discovery: Discovery = serde_json::from_slice(&document.bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        unusable(format!("it is no JSON object with issuer and jwks_uri (line {line}, column {column})"))
    })?;
    // Section 4.3: it must be the same, letter by letter.
    if discovery.issuer != issuer {
        let shown: String = discovery.issuer.chars().take(SHOWN_CHARS).collect();
        return Err(unusable(format!("it describes the issuer {shown:?}, and JWT_ISSUER is {issuer:?}")));
    }
    discovered_keys(&discovery.jwks_uri).ok_or_else(|| {
        unusable("its jwks_uri must be an address with https, without user and fragment".to_owned())
    })
}

/// For how long a set is kept whose server says that it is fresh for so long, or nothing of it.
fn kept_for(fresh_for: Option<Duration>, pace: &KeyPace) -> Duration {
    fresh_for.unwrap_or_default().clamp(pace.fresh_min, pace.fresh_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_kept_between_ten_minutes_and_an_hour() {
        let kept_s =
            |fresh_s: Option<u64>| kept_for(fresh_s.map(Duration::from_secs), &KeyPace::default()).as_secs();
        for (fresh_s, expected) in
            [(None, 600), (Some(0), 600), (Some(900), 900), (Some(86_400), 3_600), (Some(u64::MAX), 3_600)]
        {
            assert_eq!(kept_s(fresh_s), expected);
        }
    }
}
