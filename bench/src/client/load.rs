//! Clients that ask again and again: as soon as they are answered, or whether they are answered or not.
//! Closed and open loops, as Schroeder et al. tell them apart ("Open Versus Closed", NSDI 2006).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use http::Request;
use tests::http::Body;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Door, Visit};
use crate::stats::{count, ms, quantile};

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Load {
    /// Every visit that came to its end.
    pub(crate) visits: Vec<Visit>,
    /// From the first request to the last end.
    pub(crate) elapsed: Duration,
}

impl Load {
    /// Visits that ended a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.visits.len()) / self.elapsed.as_secs_f64()
    }

    /// Of the whole visits, in milliseconds.
    pub(crate) fn whole_ms(&self, q: f64) -> f64 {
        let times: Vec<f64> = self.visits.iter().map(|visit| ms(visit.whole)).collect();
        quantile(&times, q)
    }

    /// Until the first text, in milliseconds.
    pub(crate) fn first_token_ms(&self, q: f64) -> f64 {
        let times = self.visits.iter().filter_map(|visit| visit.first_token);
        let times: Vec<f64> = times.map(ms).collect();
        quantile(&times, q)
    }

    /// Under way between child and reader, in milliseconds.
    pub(crate) fn delay_ms(&self, q: f64) -> f64 {
        let delays = self.visits.iter().flat_map(|visit| &visit.delays);
        let delays: Vec<f64> = delays.map(|delay| ms(*delay)).collect();
        quantile(&delays, q)
    }

    /// Pieces of text in all.
    pub(crate) fn deltas(&self) -> usize {
        self.visits.iter().map(|visit| visit.deltas).sum()
    }

    /// Fails unless every visit got this status.
    ///
    /// # Errors
    /// With the first other one.
    pub(crate) fn all(self, status: u16) -> anyhow::Result<Self> {
        ensure!(!self.visits.is_empty(), "nobody was answered");
        let other = self.visits.iter().find(|visit| visit.status != status);
        if let Some(Visit {
            status, complaint, ..
        }) = other
        {
            bail!("{status}: {}", complaint.as_deref().unwrap_or_default());
        }
        Ok(self)
    }

    /// Fails unless every visit was a stream that said that it is whole.
    ///
    /// # Errors
    /// With the first other one.
    pub(crate) fn all_whole(self) -> anyhow::Result<Self> {
        let this = self.all(200)?;
        let cut = this
            .visits
            .iter()
            .find(|visit| !visit.is_whole || visit.deltas == 0);
        if let Some(Visit {
            deltas, complaint, ..
        }) = cut
        {
            let complaint = complaint.as_deref().unwrap_or("it ends too early");
            bail!("after {deltas} pieces of text: {complaint}");
        }
        Ok(this)
    }
}

/// So many clients, each on a connection of its own, ask for so long.
///
/// # Errors
/// When nobody listens, or an answer breaks off.
pub(crate) async fn closed_loop<R>(
    door: &Door,
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
        let (door, request) = (door.clone(), Arc::clone(&request));
        tasks.spawn(async move {
            let mut client = door.open().await?;
            let mut visits = Vec::new();
            while started.elapsed() < time {
                match Visit::make(&mut client, request()).await {
                    Ok(visit) => visits.push(visit),
                    // A server that refuses a body unread may close the connection when it has said so.
                    Err(_closed) => client = door.open().await?,
                }
            }
            anyhow::Ok(visits)
        });
    }
    let visits = all_done(tasks).await?.into_iter().flatten().collect();
    Ok(Load {
        visits,
        elapsed: started.elapsed(),
    })
}

/// So many requests, one each `every`, whether the ones before are answered or not.
///
/// # Errors
/// As [`closed_loop`].
pub(crate) async fn open_loop<R>(
    door: &Door,
    every: Duration,
    requests: usize,
    request: R,
) -> anyhow::Result<Load>
where
    R: Fn() -> Request<Body>,
{
    let idle = Arc::new(Mutex::new(Vec::new()));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..requests {
        ticks.tick().await;
        let (door, request, idle) = (door.clone(), request(), Arc::clone(&idle));
        tasks.spawn(async move {
            let waiting = idle.lock().await.pop();
            let mut client = match waiting {
                Some(client) => client,
                None => door.open().await?,
            };
            let visit = Visit::make(&mut client, request).await?;
            idle.lock().await.push(client);
            anyhow::Ok(visit)
        });
    }
    let visits = all_done(tasks).await?;
    Ok(Load {
        visits,
        elapsed: started.elapsed(),
    })
}

async fn all_done<T: 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(done) = tasks.join_next().await {
        results.push(done??);
    }
    Ok(results)
}
