//! The connection as its users see it: there, or not.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation};
use tokio::sync::{Notify, watch};

/// A handle to the connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::store) struct RedisLink {
    pub(super) connection: watch::Receiver<Option<MultiplexedConnection>>,
    /// Tells the keeper that an operation has failed.
    pub(super) failed: Arc<Notify>,
    /// The name of this process in the server.
    pub(super) owner: Arc<str>,
}

/// An operation that has failed. It may have been carried out.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum LinkError {
    #[error("not connected")]
    Away,
    #[error(transparent)]
    Failed(#[from] RedisError),
}

impl RedisLink {
    /// Returns the name of this process in the server. Its lease ends soon after the process.
    pub(in crate::store) fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether the server was reachable at the last look.
    pub(in crate::store) fn is_up(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Runs a script. Returns at once when the server is away, else within the timeout of the connection.
    ///
    /// # Errors
    /// The server is away or refuses.
    pub(in crate::store) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LinkError> {
        let mut connection = self.connection()?;
        self.checked(script.invoke_async(&mut connection).await)
    }

    /// Runs the commands of a pipeline, as [`Self::invoke`].
    ///
    /// # Errors
    /// The server is away or refuses.
    pub(in crate::store) async fn pipe<T: FromRedisValue>(
        &self,
        pipe: &Pipeline,
    ) -> Result<T, LinkError> {
        let mut connection = self.connection()?;
        self.checked(pipe.query_async(&mut connection).await)
    }

    fn connection(&self) -> Result<MultiplexedConnection, LinkError> {
        self.connection.borrow().clone().ok_or(LinkError::Away)
    }

    fn checked<T>(&self, result: RedisResult<T>) -> Result<T, LinkError> {
        if result.is_err() {
            self.failed.notify_one();
        }
        Ok(result?)
    }
}
