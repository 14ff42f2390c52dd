//! `/v1/usage`: the query, and totals or records as JSON.
//! The shape is specific to codex-edge; OpenAI's usage API is for organisations. Times are milliseconds since the Unix
//! epoch, as clients of the earlier Node proxy send them, or RFC 3339.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::response::budget::{LimitBody, rfc3339};
use super::response::error::ApiError;
use super::response::json::to_json;
use crate::codex::RateLimits;
use crate::store::UsageSums;
use crate::store::ledger::LimitStatus;
use crate::telemetry::{Interval, UsageFilter, UsageRecord, UsageTotals};

/// Accepted values of `limit`, in records. Bounds the memory of one response.
const LIMIT_RANGE: RangeInclusive<usize> = 1..=10_000;

/// Records in a response to a query without `limit`.
const DEFAULT_LIMIT: usize = 200;

/// The caller of the usage API.
#[derive(Debug, Clone, Copy)]
pub struct UsageReader<'a> {
    /// The id of the caller's key.
    pub client: &'a str,
    /// Whether the key may read the usage of other clients.
    pub admin: bool,
}

/// A query for usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// The selected records.
    pub filter: UsageFilter,
    /// The interval of the buckets, if any.
    pub group: Option<Interval>,
    /// Maximum number of records, where records are requested; the latest ones.
    pub limit: usize,
}

impl UsageQuery {
    /// Parses the query of a request that arrived at `now`.
    ///
    /// # Errors
    /// 400 for an invalid value; 403 for the usage of another client, unless the key is an administrator's.
    pub fn parse<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        reader: UsageReader<'_>,
        now: SystemTime,
    ) -> Result<Self, ApiError> {
        let mut query = Self {
            filter: UsageFilter {
                times: 0..epoch_ms(now) + 1, // The range excludes its end; a record of this very millisecond counts.
                client: (!reader.admin).then(|| reader.client.to_owned()),
            },
            group: None,
            limit: DEFAULT_LIMIT,
        };
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match name.as_ref() {
                "start" => query.filter.times.start = parse_time(&value, "start")?,
                "end" => query.filter.times.end = parse_time(&value, "end")?,
                "group" => query.group = Some(parse_group(&value)?),
                "limit" => query.limit = parse_limit(&value)?,
                "client" => query.filter.client = Some(readable(&value, reader)?),
                _ => {} // Unknown parameters are ignored.
            }
        }
        Ok(query)
    }
}

fn parse_time(text: &str, param: &str) -> Result<u64, ApiError> {
    let at_midnight = |date: Date| date.midnight().assume_utc();
    let day = || Date::parse(text, &time::format_description::well_known::Iso8601::DATE).ok();
    let moment = || OffsetDateTime::parse(text, &Rfc3339).ok();
    let of_text = || {
        let moment = moment().or_else(|| day().map(at_midnight))?;
        u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
    };
    text.parse().ok().or_else(of_text).ok_or_else(|| {
        let message = format!(
            "`{param}` must be milliseconds since 1970, a day such as 2026-11-23, or a time such as 2026-11-23T08:00:00Z."
        );
        ApiError::invalid(message).at(param)
    })
}

fn parse_group(text: &str) -> Result<Interval, ApiError> {
    match text {
        "hour" => Ok(Interval::Hour),
        "day" => Ok(Interval::Day),
        _ => Err(ApiError::invalid("`group` must be hour or day.").at("group")),
    }
}

fn parse_limit(text: &str) -> Result<usize, ApiError> {
    text.parse()
        .ok()
        .filter(|limit| LIMIT_RANGE.contains(limit))
        .ok_or_else(|| ApiError::invalid("`limit` must be between 1 and 10000.").at("limit"))
}

fn readable(client: &str, reader: UsageReader<'_>) -> Result<String, ApiError> {
    if reader.admin || client == reader.client {
        Ok(client.to_owned())
    } else {
        let message = "`client` must be your own: this key reads only its own usage. The operator can set \"admin\": true for it.";
        Err(ApiError::permission_denied(message).at("client"))
    }
}

#[derive(Serialize)]
struct UsageTotalsBody<'a> {
    object: &'static str,
    /// Milliseconds since the Unix epoch, as `end`. The interval excludes `end`.
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(flatten)]
    totals: &'a UsageSums,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<UsageBucket<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plan: Vec<PlanWindow>,
    /// The limits of the caller's key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    budget: Vec<LimitBody>,
}

#[derive(Serialize)]
struct UsageBucket<'a> {
    ts: String,
    #[serde(flatten)]
    totals: &'a UsageSums,
}

/// A rate limit window of the Codex plan, which all clients share.
#[derive(Debug, Serialize)]
pub struct PlanWindow {
    window: &'static str,
    used_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    length_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<String>,
}

/// Returns the body of `GET /v1/usage`.
pub fn totals_body(
    query: &UsageQuery,
    totals: &UsageTotals,
    plan: &RateLimits,
    budget: &[LimitStatus],
) -> Vec<u8> {
    let bucket = |(ts, totals): (&u64, _)| UsageBucket {
        ts: rfc3339(*ts),
        totals,
    };
    to_json(&UsageTotalsBody {
        object: "usage",
        start: query.filter.times.start,
        end: query.filter.times.end,
        group: query.group,
        client: query.filter.client.as_deref(),
        totals: &totals.totals,
        buckets: query
            .group
            .map(|_| totals.buckets.iter().map(bucket).collect()),
        plan: plan_windows(plan),
        budget: budget.iter().map(LimitBody::from).collect(),
    })
}

/// Returns the windows that Codex has reported.
pub fn plan_windows(plan: &RateLimits) -> Vec<PlanWindow> {
    plan.windows()
        .map(|(name, window)| PlanWindow {
            window: name,
            used_percent: window.used_percent_now(),
            length_secs: window.length.as_ref().map(Duration::as_secs),
            resets_at: window.resets_at.map(|at| rfc3339(epoch_ms(at))),
        })
        .collect()
}

#[derive(Serialize)]
struct UsageRecordsBody<'a> {
    count: usize,
    events: &'a VecDeque<UsageRecord>,
}

/// Returns the body of `GET /v1/usage/raw`: the last records, oldest first.
pub fn records_body(events: &VecDeque<UsageRecord>) -> Vec<u8> {
    let count = events.len();
    to_json(&UsageRecordsBody { count, events })
}

fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, admin: bool) -> Result<UsageQuery, String> {
        let reader = UsageReader {
            client: "alice",
            admin,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(99);
        let pairs = form_urlencoded::parse(query.as_bytes());
        UsageQuery::parse(pairs, reader, now)
            .map_err(|error| String::from_utf8(error.body()).unwrap())
    }

    #[test]
    fn times_are_milliseconds_days_or_rfc_3339() {
        for (text, expected) in [
            ("", 0),
            ("1700000000000", 1_700_000_000_000),
            ("2026-11-23", 1_795_392_000_000),
            ("2026-11-23T01:00:00Z", 1_795_395_600_000),
            ("2026-11-23T01:00:00.5%2B01:00", 1_795_392_000_500),
        ] {
            let query = parse(&format!("start={text}"), false).unwrap();
            assert_eq!(query.filter.times.start, expected, "{text}");
        }
        assert_eq!(parse("", false).unwrap().filter.times.end, 100);
    }

    #[test]
    fn clients_read_their_own_usage_and_administrators_all() {
        for (query, admin, expected) in [
            ("", false, Some("alice")),
            ("client=alice", false, Some("alice")),
            ("", true, None),
            ("client=bob", true, Some("bob")),
        ] {
            let filter = parse(query, admin).unwrap().filter;
            assert_eq!(filter.client.as_deref(), expected, "{query} {admin}");
        }
        let error = parse("client=bob", false).unwrap_err();
        assert!(error.contains("permission_denied"), "{error}");
    }

    #[test]
    fn invalid_values_are_rejected_with_param() {
        for (query, param) in [
            ("start=soon", "start"),
            ("start[toString]=x&start=-5", "start"),
            ("end=2026-13-01", "end"),
            ("group=week", "group"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=2.7", "limit"),
        ] {
            let error = parse(query, true).unwrap_err();
            let named = format!(r#""param":"{param}""#);
            assert!(error.contains(&named), "{query}: {error}");
        }
    }

    #[test]
    fn totals_have_buckets_when_a_group_is_requested() {
        let body_of = |text: &str| {
            let query = parse(text, true).unwrap();
            let mut all = UsageTotals::default();
            all.buckets.insert(3_600_000, UsageSums::default());
            String::from_utf8(totals_body(&query, &all, &RateLimits::default(), &[])).unwrap()
        };
        let grouped = body_of("group=hour&end=5");
        let start =
            r#"{"object":"usage","start":0,"end":5,"group":"hour","requests":0,"errors":0,"#;
        assert!(grouped.starts_with(start), "{grouped}");
        let bucket = r#""buckets":[{"ts":"1970-01-01T01:00:00Z","requests":0,"#;
        assert!(grouped.contains(bucket), "{grouped}");
        assert!(!body_of("").contains("buckets"));
    }
}
