//! Load generators: a closed loop and an open loop.
//!
//! The terms are those of Schroeder et al., "Open Versus Closed" (NSDI 2006). In a closed loop a client sends its next
//! request after the response to the previous one; in an open loop requests start at a fixed rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use http::Request;
use tests::http::Body;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{RequestSample, Target};
use crate::stats::{count, ms, quantile};

/// Result of a load.
#[derive(Debug)]
pub(crate) struct Load {
    /// Samples of all requests.
    pub(crate) samples: Vec<RequestSample>,
    /// Time from the first request to the end of the last response.
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Completed requests per second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.samples.len()) / self.elapsed.as_secs_f64()
    }

    /// The `q` quantile of the time to the end of the response, in milliseconds.
    pub(crate) fn total_ms(&self, q: f64) -> f64 {
        let times: Vec<f64> = self.samples.iter().map(|sample| ms(sample.total)).collect();
        quantile(&times, q)
    }

    /// The `q` quantile of the time to the first text, in milliseconds.
    pub(crate) fn first_token_ms(&self, q: f64) -> f64 {
        let times: Vec<f64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.first_token)
            .map(ms)
            .collect();
        quantile(&times, q)
    }

    /// The `q` quantile of the time from the child's write of a delta to the client's read, in milliseconds.
    pub(crate) fn delay_ms(&self, q: f64) -> f64 {
        let delays: Vec<f64> = self
            .samples
            .iter()
            .flat_map(|sample| &sample.delays)
            .map(|delay| ms(*delay))
            .collect();
        quantile(&delays, q)
    }

    /// Total number of text deltas.
    pub(crate) fn deltas(&self) -> usize {
        self.samples.iter().map(|sample| sample.deltas).sum()
    }

    /// Returns the load if every response has `status`.
    ///
    /// # Errors
    /// When a response has another status, or the load is empty.
    pub(crate) fn require_status(self, status: u16) -> anyhow::Result<Self> {
        ensure!(!self.samples.is_empty(), "no request was completed");
        let other = self.samples.iter().find(|sample| sample.status != status);
        if let Some(RequestSample {
            status, error_body, ..
        }) = other
        {
            bail!("{status}: {}", error_body.as_deref().unwrap_or_default());
        }
        Ok(self)
    }

    /// Returns the load if every response is a stream with text and its final marker.
    ///
    /// # Errors
    /// When a response is not a complete stream.
    pub(crate) fn require_complete(self) -> anyhow::Result<Self> {
        let load = self.require_status(200)?;
        let incomplete = load
            .samples
            .iter()
            .find(|sample| !sample.is_complete || sample.deltas == 0);
        if let Some(RequestSample {
            deltas, error_body, ..
        }) = incomplete
        {
            let reason = error_body.as_deref().unwrap_or("the stream ended early");
            bail!("after {deltas} deltas: {reason}");
        }
        Ok(load)
    }
}

/// Runs `clients` clients in a closed loop for `time`, each on its own connection.
///
/// # Errors
/// When a connection is refused, or breaks before the end of a response.
pub(crate) async fn closed_loop<R>(
    target: &Target,
    clients: usize,
    time: Duration,
    request: R,
) -> anyhow::Result<Load>
where
    R: Fn() -> Request<Body> + Send + Sync + 'static,
{
    let request = Arc::new(request);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (target, request) = (target.clone(), Arc::clone(&request));
        tasks.spawn(async move {
            let mut client = target.connect().await?;
            let mut samples = Vec::new();
            while started.elapsed() < time {
                match RequestSample::measure(&mut client, request()).await {
                    Ok(sample) => samples.push(sample),
                    // A server that rejects a request before its body ends may close the connection after the
                    // response. The request that meets the closed connection is not a sample.
                    Err(_) => client = target.connect().await?,
                }
            }
            anyhow::Ok(samples)
        });
    }
    let samples = join_all(tasks).await?.into_iter().flatten().collect();
    Ok(Load {
        samples,
        elapsed: started.elapsed(),
    })
}

/// Runs an open loop as [`open_loop_on`] does, on as many connections as it needs.
///
/// # Errors
/// As [`open_loop_on`].
pub(crate) async fn open_loop<R>(
    target: &Target,
    interval_between: Duration,
    requests: usize,
    request: R,
) -> anyhow::Result<Load>
where
    R: Fn() -> Request<Body> + Send + Sync + 'static,
{
    open_loop_on(target, usize::MAX, interval_between, requests, request).await
}

/// Starts `requests` requests in an open loop, one per `interval_between`, on at most `connections` connections, and waits
/// for all responses. A request without a free connection waits for one; its times count from the start that the rate sets
/// for it. A request whose connection breaks is sent once more on a new one.
///
/// # Errors
/// When a connection is refused, or breaks on the second try of a request.
pub(crate) async fn open_loop_on<R>(
    target: &Target,
    connections: usize,
    interval_between: Duration,
    requests: usize,
    request: R,
) -> anyhow::Result<Load>
where
    R: Fn() -> Request<Body> + Send + Sync + 'static,
{
    let request = Arc::new(request);
    let idle_clients = Arc::new(Mutex::new(Vec::new()));
    let free = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut ticks = interval(interval_between);
    // A late tick must not lower the rate: the loop would no longer be open.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..requests {
        let due = ticks.tick().await;
        let (target, request) = (target.clone(), Arc::clone(&request));
        let (idle_clients, free) = (Arc::clone(&idle_clients), Arc::clone(&free));
        tasks.spawn(async move {
            let _connection = free.acquire().await?;
            // Popped in a statement of its own, so that the lock is not held while a connection is opened.
            let idle = idle_clients.lock().await.pop();
            let mut client = match idle {
                Some(client) => client,
                None => target.connect().await?,
            };
            let mut stream = client.stream(request()).await;
            // The server may close an idle connection, also while a request is on its way.
            if stream.is_err() {
                client = target.connect().await?;
                stream = client.stream(request()).await;
            }
            let sample = RequestSample::read(stream?, due).await?;
            idle_clients.lock().await.push(client);
            anyhow::Ok(sample)
        });
    }
    let samples = join_all(tasks).await?;
    Ok(Load {
        samples,
        elapsed: started.elapsed(),
    })
}

async fn join_all<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
