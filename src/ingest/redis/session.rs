//! A connection to Redis that is logged in: sends commands and reads replies, each within a time limit.

use std::fmt;
use std::io;

use redis::RedisConnectionInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::{Dialer, Stream};
use super::error::{RedisError, Words, within};
use crate::resp::{Progress, Reply, ReplyLimits, parse_reply, write_command};

/// The size of a read from the server, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// How many bytes are read at most of a server's last replies before it closed.
const LAST_REPLIES_BYTES: usize = 64 * 1024;

/// The user that the gateway logs in as.
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
    /// The login of a parsed `REDIS_URL`.
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

/// A connection that is logged in. After an error other than [`RedisError::Refused`] it can't be used any more.
#[derive(Debug)]
pub struct Session {
    stream: Stream,
    /// Bytes from the server.
    buffer: Vec<u8>,
    /// How many bytes at the front of `buffer` have been read as replies.
    consumed: usize,
    /// The last error reply. If Redis closes the connection behind it, it says why.
    last_error: Option<Words>,
}

impl Session {
    /// Connects, and sends AUTH, SELECT and CLIENT SETNAME.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub async fn open(dialer: &mut Dialer, login: &Login, client_name: &str) -> Result<Self, RedisError> {
        let stream = dialer.dial().await?;
        Self::log_in(stream, login, client_name).await
    }

    /// The same, and what is not sent yet when the connection is closed is thrown away.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub async fn open_abortive(
        dialer: &mut Dialer,
        login: &Login,
        client_name: &str,
    ) -> Result<Self, RedisError> {
        let stream = dialer.dial().await?;
        stream.set_abortive();
        Self::log_in(stream, login, client_name).await
    }

    async fn log_in(stream: Stream, login: &Login, client_name: &str) -> Result<Self, RedisError> {
        let mut session = Self { stream, buffer: Vec::new(), consumed: 0, last_error: None };
        match (&login.user, &login.password) {
            (Some(user), Some(password)) => {
                session.call("AUTH", &[b"AUTH", user.as_bytes(), password.as_bytes()]).await?;
            }
            (None, Some(password)) => session.call("AUTH", &[b"AUTH", password.as_bytes()]).await?,
            (_, None) => {}
        }
        if login.db != 0 {
            // Pub/Sub doesn't depend on the database, but a URL with one that doesn't exist should fail.
            let selected = session.call("SELECT", &[b"SELECT", login.db.to_string().as_bytes()]).await;
            let permission =
                || format!("ACL SETUSER {} +select, or REDIS_URL without a database", login.user_name());
            selected.map_err(|error| error.advise("NOPERM", permission))?;
        }
        let named = session.call("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", client_name.as_bytes()]).await;
        match named {
            // The name is only for people who read CLIENT LIST, and an ACL may forbid setting it.
            Ok(()) | Err(RedisError::Refused { .. }) => Ok(session),
            Err(error) => Err(error),
        }
    }

    /// Sends a command and waits for its first reply. Drops the reply unless it is an error.
    ///
    /// # Errors
    /// [`RedisError::Refused`] with the error reply; otherwise the connection can't be used any more.
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
    /// The connection can't be used any more.
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

    /// Waits for the next reply, and returns the result of `take` for it.
    ///
    /// # Errors
    /// The connection can't be used any more.
    pub async fn reply<T>(
        &mut self,
        step: &'static str,
        limits: &ReplyLimits,
        take: impl FnOnce(Reply<'_>) -> T,
    ) -> Result<T, RedisError> {
        loop {
            match parse_reply(&self.buffer[self.consumed..], limits)? {
                Progress::Done { value, used_bytes } => {
                    if let Reply::Error(text) = value {
                        self.last_error = Some(Words::new(text));
                    }
                    let taken = take(value);
                    self.consumed += used_bytes;
                    return Ok(taken);
                }
                Progress::Incomplete { needed_bytes } => self.fill(step, needed_bytes).await?,
            }
        }
    }

    /// The connection, and the bytes that have come behind the last reply.
    pub fn into_parts(mut self) -> (Stream, Vec<u8>) {
        self.buffer.drain(..self.consumed);
        (self.stream, self.buffer)
    }

    /// Reads until the buffer holds `needed_bytes` behind the last reply.
    async fn fill(&mut self, step: &'static str, needed_bytes: usize) -> Result<(), RedisError> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
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

    /// Why the connection ended, with Redis' last error reply if there was one. Redis sends it before it closes. If that
    /// happens while the gateway writes, the write fails, and the reply has yet to be read.
    async fn closed(&mut self, step: &'static str, source: Option<io::Error>) -> RedisError {
        let io = self.stream.io();
        let buffer = &mut self.buffer;
        let last_replies = async {
            while buffer.len() < LAST_REPLIES_BYTES && io.read_buf(buffer).await? > 0 {}
            Ok(())
        };
        // This read may well end with an error; the bytes before that count.
        let _ = within(step, last_replies).await;
        while let Ok(Progress::Done { value, used_bytes }) =
            parse_reply(&self.buffer[self.consumed..], &ReplyLimits::DEFAULT)
        {
            if let Reply::Error(text) = value {
                self.last_error = Some(Words::new(text));
            }
            self.consumed += used_bytes;
        }
        RedisError::Closed { step, source, last_error: self.last_error.take() }
    }
}
