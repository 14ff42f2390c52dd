//! The keeper of the connection: connects, renews the lease of this process, and connects again after a failure.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::address::RedisAddress;
use super::link::RedisLink;

/// Longest wait for an answer. A server on the same network answers within milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait for a connection, its greeting included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between renewals of the lease, which show too that the server answers.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The lease of a process. After its end the process counts as dead, and its reservations as spent.
pub(in crate::store) const LEASE: Duration = Duration::from_secs(15);

// The wait before the next attempt to connect doubles from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The keeper. Dropping its future closes the connection.
#[derive(Debug)]
pub(in crate::store) struct RedisKeeper {
    client: Client,
    address: RedisAddress,
    owner: Arc<str>,
    published: watch::Sender<Option<MultiplexedConnection>>,
    failed: Arc<Notify>,
}

impl RedisKeeper {
    /// Returns a keeper, and the link that it serves.
    pub(in crate::store) fn new(address: &RedisAddress, owner: Arc<str>) -> (Self, RedisLink) {
        let (published, connection) = watch::channel(None);
        let failed = Arc::new(Notify::new());
        let keeper = Self {
            client: address.client(),
            address: address.clone(),
            owner: Arc::clone(&owner),
            published,
            failed: Arc::clone(&failed),
        };
        let link = RedisLink {
            connection,
            failed,
            owner,
        };
        (keeper, link)
    }

    /// Keeps the connection until the future is dropped.
    pub(in crate::store) async fn run(self) {
        let mut wait = FIRST_WAIT;
        let mut is_known_away = false;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    tracing::info!(address = ?self.address, "state store connected");
                    (wait, is_known_away) = (FIRST_WAIT, false);
                    self.published.send_replace(Some(connection.clone()));
                    let error = self.hold(connection).await;
                    self.published.send_replace(None);
                    tracing::error!(%error, "state store lost");
                }
                // Once for each time that the server is away.
                Err(error) if !is_known_away => {
                    is_known_away = true;
                    tracing::error!(%error, address = ?self.address, "state store connect failed");
                }
                Err(_) => {}
            }
            // Sidecars that have lost the same server do not return at the same moment.
            sleep(wait.mul_f64(0.5 + jitter())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = connect(&self.client).await?;
        self.renew(&mut connection).await?;
        Ok(connection)
    }

    /// Renews the lease until that fails.
    async fn hold(&self, mut connection: MultiplexedConnection) -> RedisError {
        loop {
            tokio::select! {
                () = sleep(HEARTBEAT) => {}
                // An operation has failed: the connection may be of no more use.
                () = self.failed.notified() => {}
            }
            if let Err(error) = self.renew(&mut connection).await {
                return error;
            }
        }
    }

    async fn renew(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let key = format!("codex-edge:owner:{}", self.owner);
        redis::cmd("SET")
            .arg(key)
            .arg(1)
            .arg("PX")
            .arg(LEASE.as_millis())
            .query_async(connection)
            .await
    }
}

/// Connects once, and asks for an answer.
///
/// # Errors
/// The server cannot be reached, or refuses the login.
pub async fn probe(address: &RedisAddress) -> RedisResult<()> {
    let mut connection = connect(&address.client()).await?;
    redis::cmd("PING").exec_async(&mut connection).await
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

/// Returns a number from 0 to 1; 0 without a random source.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}
