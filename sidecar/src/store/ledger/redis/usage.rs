//! The shared usage in Redis: a hash for each client and month, with a field for each hour and number.

use redis::pipe;

use crate::store::ledger::window::Window;
use crate::store::redis::{LinkError, RedisLink};
use crate::store::usage::{HOUR_MS, UsageCount, UsageHour, UsageSums};
use crate::turn::Period;

/// The names of the clients with usage.
const CLIENTS: &str = "codex-edge:usage:clients";

/// Months that are kept: the current one and a year.
const MONTHS: usize = 13;

/// Seconds until a month is forgotten.
const EXPIRY_SECS: i64 = 400 * 24 * 3600;

#[derive(Debug)]
pub(super) struct RedisUsage {
    link: RedisLink,
}

impl RedisUsage {
    pub(super) fn new(link: RedisLink) -> Self {
        Self { link }
    }

    pub(super) async fn count(&self, count: &UsageCount) -> Result<(), LinkError> {
        let month = Window::at(Period::Month, count.ts).bucket;
        let (key, hour) = (key(&count.client, month), count.ts - count.ts % HOUR_MS);
        let mut pipe = pipe();
        pipe.atomic();
        for (number, value) in count.sums.numbers().iter().enumerate() {
            if *value > 0 {
                pipe.hincr(&key, format!("{hour}:{number}"), *value)
                    .ignore();
            }
        }
        pipe.expire(&key, EXPIRY_SECS).ignore();
        pipe.sadd(CLIENTS, &*count.client).ignore();
        pipe.expire(CLIENTS, EXPIRY_SECS).ignore();
        self.link.pipe(&pipe).await
    }

    /// Returns the hours of a client or of all; an hour may come several times.
    pub(super) async fn hours(
        &self,
        client: Option<&str>,
        now: u64,
    ) -> Result<Vec<UsageHour>, LinkError> {
        let clients = match client {
            Some(client) => vec![client.to_owned()],
            None => {
                let mut pipe = pipe();
                pipe.smembers(CLIENTS);
                let (clients,): (Vec<String>,) = self.link.pipe(&pipe).await?;
                clients
            }
        };
        let mut months = vec![Window::at(Period::Month, now).bucket];
        while months.len() < MONTHS {
            let earlier = months[months.len() - 1].saturating_sub(1);
            months.push(Window::at(Period::Month, earlier).bucket);
        }
        let mut pipe = pipe();
        for client in &clients {
            for month in &months {
                pipe.hgetall(key(client, *month));
            }
        }
        if clients.is_empty() {
            return Ok(Vec::new());
        }
        let hashes: Vec<Vec<(String, u64)>> = self.link.pipe(&pipe).await?;
        Ok(hashes.into_iter().flatten().filter_map(hour).collect())
    }
}

fn key(client: &str, month: u64) -> String {
    format!("codex-edge:usage:of:{client}:{month}")
}

/// Returns one number of an hour.
fn hour((field, value): (String, u64)) -> Option<UsageHour> {
    let (start, number) = field.split_once(':')?;
    let mut sums = UsageSums::default();
    sums.set(number.parse().ok()?, value);
    Some(UsageHour {
        start_ms: start.parse().ok()?,
        sums,
    })
}
