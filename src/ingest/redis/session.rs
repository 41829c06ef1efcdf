//! A connection to Redis that is logged in: commands and their replies, each with a time limit.

use std::fmt;
use std::io;

use redis::RedisConnectionInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::{Dialer, Stream};
use super::error::{RedisError, Words, within};
use crate::resp::{Progress, Reply, ReplyLimits, parse_reply, write_command};

/// Room made for each read from the server, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// How much is read of what a server has sent before it closed, in bytes.
const LAST_WORDS_BYTES: usize = 64 * 1024;

/// Who the gateway is to Redis.
#[derive(Clone, Default)]
pub struct Login {
    /// The ACL user; `None` is Redis' `default`.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// The database of the URL.
    pub db: i64,
}

impl Login {
    /// What a parsed `REDIS_URL` says.
    pub fn from_url(settings: &RedisConnectionInfo) -> Self {
        Self {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            db: settings.db(),
        }
    }

    /// The user as `ACL SETUSER` names it.
    pub fn user_name(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }
}

impl fmt::Debug for Login {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(secret)"))
            .field("db", &self.db)
            .finish()
    }
}

/// A connection that is logged in. After an error other than [`RedisError::Refused`] it is of no use any more.
#[derive(Debug)]
pub struct Session {
    stream: Stream,
    buffer: Vec<u8>,
    /// Where the bytes begin that no reply has taken yet.
    taken: usize,
    /// The last error reply: what Redis says before it closes a connection is why.
    said: Option<Words>,
}

impl Session {
    /// Connects, then AUTH, SELECT and CLIENT SETNAME.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub async fn open(dialer: &mut Dialer, login: &Login, client_name: &str) -> Result<Self, RedisError> {
        let stream = dialer.dial().await?;
        let mut session = Self { stream, buffer: Vec::new(), taken: 0, said: None };
        match (&login.user, &login.password) {
            (Some(user), Some(password)) => {
                session.call("AUTH", &[b"AUTH", user.as_bytes(), password.as_bytes()]).await?;
            }
            (None, Some(password)) => session.call("AUTH", &[b"AUTH", password.as_bytes()]).await?,
            (_, None) => {}
        }
        if login.db != 0 {
            // Pub/Sub knows no databases, but a URL that names one which doesn't exist should fail.
            let selected = session.call("SELECT", &[b"SELECT", login.db.to_string().as_bytes()]).await;
            let permission =
                || format!("ACL SETUSER {} +select, or REDIS_URL without a database", login.user_name());
            selected.map_err(|error| error.advise("NOPERM", permission))?;
        }
        let named = session.call("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", client_name.as_bytes()]).await;
        match named {
            // The name only serves those who read CLIENT LIST; an ACL may forbid it.
            Ok(()) | Err(RedisError::Refused { .. }) => Ok(session),
            Err(error) => Err(error),
        }
    }

    /// Sends a command and waits for the first reply, of which only matters that it is no error.
    ///
    /// # Errors
    /// [`RedisError::Refused`] with the server's words, or the connection is of no use any more.
    pub async fn call(&mut self, command: &'static str, args: &[&[u8]]) -> Result<(), RedisError> {
        let mut request = Vec::new();
        write_command(&mut request, args);
        self.send(command, &request).await?;
        let refused = |reply: Reply<'_>| match reply {
            Reply::Error(text) => Some(Words::new(text)),
            _ => None,
        };
        match self.reply(command, &ReplyLimits::DEFAULT, refused).await? {
            None => Ok(()),
            Some(words) => Err(RedisError::Refused { command, words, advice: None }),
        }
    }

    /// Sends one or more commands.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn send(&mut self, step: &'static str, request: &[u8]) -> Result<(), RedisError> {
        let io = self.stream.io();
        let written = async {
            io.write_all(request).await?;
            io.flush().await
        };
        match within(step, written).await {
            Err(RedisError::Io { source, .. }) => Err(self.closed(step, Some(source)).await),
            outcome => outcome,
        }
    }

    /// Waits for the next reply, and returns what `take` makes of it.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub async fn reply<T>(
        &mut self,
        step: &'static str,
        limits: &ReplyLimits,
        take: impl FnOnce(Reply<'_>) -> T,
    ) -> Result<T, RedisError> {
        loop {
            match parse_reply(&self.buffer[self.taken..], limits)? {
                Progress::Done { value, used_bytes } => {
                    if let Reply::Error(text) = value {
                        self.said = Some(Words::new(text));
                    }
                    let taken = take(value);
                    self.taken += used_bytes;
                    return Ok(taken);
                }
                Progress::Incomplete { needed_bytes } => self.fill(step, needed_bytes).await?,
            }
        }
    }

    /// The connection, and the bytes that have come behind the last reply.
    pub fn into_parts(mut self) -> (Stream, Vec<u8>) {
        self.buffer.drain(..self.taken);
        (self.stream, self.buffer)
    }

    /// Reads until `needed_bytes` are there that no reply has taken.
    async fn fill(&mut self, step: &'static str, needed_bytes: usize) -> Result<(), RedisError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        while self.buffer.len() < needed_bytes {
            self.buffer.reserve(READ_BYTES);
            match within(step, self.stream.io().read_buf(&mut self.buffer)).await {
                Ok(0) => return Err(self.closed(step, None).await),
                Ok(_) => {}
                Err(RedisError::Io { source, .. }) => return Err(self.closed(step, Some(source)).await),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Why the connection ended, in Redis' own words if it has said any. It says them before it closes, so they may
    /// have come while we wrote, and then it is the write that has failed.
    async fn closed(&mut self, step: &'static str, source: Option<io::Error>) -> RedisError {
        let io = self.stream.io();
        let buffer = &mut self.buffer;
        let last_words = async {
            while buffer.len() < LAST_WORDS_BYTES && io.read_buf(buffer).await? > 0 {}
            Ok(())
        };
        // It ends with an error as often as not; what came before counts.
        let _ = within(step, last_words).await;
        while let Ok(Progress::Done { value, used_bytes }) =
            parse_reply(&self.buffer[self.taken..], &ReplyLimits::DEFAULT)
        {
            if let Reply::Error(text) = value {
                self.said = Some(Words::new(text));
            }
            self.taken += used_bytes;
        }
        RedisError::Closed { step, source, said: self.said.take() }
    }
}
