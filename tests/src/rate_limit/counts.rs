//! The requests of the current windows, in memory or in Redis.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limitador::counter::Counter;
use limitador::limit::{Context, Namespace};
use limitador::{CheckResult, RateLimiter};
use redis::{Client, RedisError};

use super::limits;

/// Limit on a request to Redis; a slower one is an error, after which Envoy lets the request pass.
const REDIS_DEADLINE: Duration = Duration::from_secs(1);

/// A place for the counts of requests.
#[derive(Debug)]
pub enum Counts {
    /// In this process.
    Memory,
    /// In a Redis, shared with other services. A key stands for one window of one counter, as in envoyproxy/ratelimit.
    Redis(Client),
}

/// Limits, and the requests that count against them.
pub(super) struct Limiter {
    /// The limits; it counts only where the counts are in memory.
    limits: RateLimiter,
    counts: Counts,
}

impl Limiter {
    /// Creates a limiter from the YAML text `config`.
    pub(super) fn new(config: &str, counts: Counts) -> Self {
        Self {
            limits: limits::limiter(config),
            counts,
        }
    }

    /// Counts a request, and returns the counters to which it belongs.
    ///
    /// # Errors
    /// When Redis does not respond, or a limit cannot be evaluated; the text is for the caller.
    pub(super) async fn count(
        &self,
        domain: &Namespace,
        context: &Context<'_>,
    ) -> Result<CheckResult, String> {
        match &self.counts {
            Counts::Memory => self
                .limits
                .check_rate_limited_and_update(domain, context, 1)
                .map_err(|error| error.to_string()),
            Counts::Redis(redis) => {
                let mut matched = self
                    .limits
                    .is_rate_limited(domain, context, 1)
                    .map_err(|error| error.to_string())?;
                let counted = tokio::time::timeout(REDIS_DEADLINE, count_in(redis, &mut matched));
                counted
                    .await
                    .map_err(|_| "Redis does not respond".to_owned())?
                    .map_err(|error| error.to_string())?;
                Ok(matched)
            }
        }
    }
}

/// Increments the counters in Redis, and sets what remains of each.
async fn count_in(redis: &Client, matched: &mut CheckResult) -> Result<(), RedisError> {
    let mut connection = redis.get_multiplexed_async_connection().await?;
    matched.limited = false;
    for counter in &mut matched.counters {
        let (key, left) = window(counter);
        let (count,): (u64,) = redis::pipe()
            .incr(&key, 1)
            .expire(&key, i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
            .ignore()
            .query_async(&mut connection)
            .await?;
        matched.limited |= count > counter.max_value();
        counter.set_remaining(counter.max_value().saturating_sub(count));
        counter.set_expires_in(left);
    }
    Ok(())
}

/// Returns the key of the counter's current window and the time until the window ends, at least one second.
fn window(counter: &Counter) -> (String, Duration) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_epoch.expect("the clock is past 1970").as_secs();
    let length = counter.window().as_secs();
    let (domain, start) = (counter.namespace().as_ref(), now - now % length);
    let key = format!("{domain}_{:?}_{start}", counter.set_variables());
    (key, Duration::from_secs(start + length - now))
}
