//! `/v1/usage`: which records a client asks for, and their sums as JSON. Our own shape; OpenAI's is for organisations.
//! Times are milliseconds since the Unix epoch or RFC 3339, as clients of the Node proxy write them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcOffset};

use super::response::error::ApiError;
use super::response::options::to_json;
use crate::codex::RateLimits;
use crate::telemetry::{Interval, Totals, UsageFilter, UsageRecord, UsageTotals};

/// Records of one answer, and how many come unasked.
const LIMITS: RangeInclusive<usize> = 1..=10_000;
const LIMIT: usize = 200;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The id of the caller's key.
    pub client: &'a str,
    /// Whether the key may see what others used.
    pub admin: bool,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which records.
    pub selection: UsageFilter,
    /// How they are grouped.
    pub group: Option<Interval>,
    /// How many of the last ones, where records are asked for.
    pub limit: usize,
}

impl Query {
    /// Reads the query of a request that came at `now`.
    ///
    /// # Errors
    /// A value that cannot be used; or another client's usage, for a key that is no administrator's.
    pub fn parse<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        reader: Reader<'_>,
        now: SystemTime,
    ) -> Result<Self, ApiError> {
        let mut query = Self {
            selection: UsageFilter {
                times: 0..epoch_ms(now) + 1,
                client: (!reader.admin).then(|| reader.client.to_owned()),
            },
            group: None,
            limit: LIMIT,
        };
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match name.as_ref() {
                "start" => query.selection.times.start = parse_time(&value, "start")?,
                "end" => query.selection.times.end = parse_time(&value, "end")?,
                "group" => query.group = Some(parse_group(&value)?),
                "limit" => query.limit = parse_limit(&value)?,
                "client" => query.selection.client = Some(readable(&value, reader)?),
                _ => {}
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
            "{param} has to be milliseconds since 1970, a day such as 2026-11-23, or a time such as 2026-11-23T08:00:00Z."
        );
        ApiError::invalid(message).at(param)
    })
}

fn parse_group(text: &str) -> Result<Interval, ApiError> {
    match text {
        "hour" => Ok(Interval::Hour),
        "day" => Ok(Interval::Day),
        _ => Err(ApiError::invalid("The group has to be hour or day.").at("group")),
    }
}

fn parse_limit(text: &str) -> Result<usize, ApiError> {
    let limit = text.parse().ok().filter(|limit| LIMITS.contains(limit));
    limit.ok_or_else(|| ApiError::invalid("The limit has to be between 1 and 10000.").at("limit"))
}

fn readable(client: &str, reader: Reader<'_>) -> Result<String, ApiError> {
    if reader.admin || client == reader.client {
        Ok(client.to_owned())
    } else {
        let message = "Your key sees its own usage only; an operator can give it \"admin\": true.";
        Err(ApiError::permission_denied(message).at("client"))
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    /// Milliseconds since the Unix epoch, as `end`, which is not a part of it.
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(flatten)]
    totals: &'a Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<Bucket<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plan: Vec<RateLimitWindow>,
}

#[derive(Serialize)]
struct Bucket<'a> {
    ts: String,
    #[serde(flatten)]
    totals: &'a Totals,
}

/// A window of the Codex plan, which all clients share.
#[derive(Debug, Serialize)]
pub struct RateLimitWindow {
    window: &'static str,
    used_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    length_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<String>,
}

/// The answer of `/v1/usage`.
pub fn sums(query: &Query, sums: &UsageTotals, plan: &RateLimits) -> Vec<u8> {
    let bucket = |(ts, totals): (&u64, _)| Bucket {
        ts: rfc3339(*ts),
        totals,
    };
    to_json(&Answer {
        object: "usage",
        start: query.selection.times.start,
        end: query.selection.times.end,
        group: query.group,
        client: query.selection.client.as_deref(),
        totals: &sums.totals,
        buckets: query
            .group
            .map(|_| sums.buckets.iter().map(bucket).collect()),
        plan: plan_windows(plan),
    })
}

/// The windows that Codex has told something of.
pub fn plan_windows(plan: &RateLimits) -> Vec<RateLimitWindow> {
    let windows = plan.windows().map(|(name, window)| RateLimitWindow {
        window: name,
        used_percent: window.used_percent_now(),
        length_secs: window.length.as_ref().map(Duration::as_secs),
        resets_at: window.resets_at.map(|at| rfc3339(epoch_ms(at))),
    });
    windows.collect()
}

#[derive(Serialize)]
struct Records<'a> {
    count: usize,
    events: &'a VecDeque<UsageRecord>,
}

/// The answer of `/v1/usage/raw`: the last ones, oldest first.
pub fn records(events: &VecDeque<UsageRecord>) -> Vec<u8> {
    let count = events.len();
    to_json(&Records { count, events })
}

fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A time that no clock of ours can have is shown as the epoch.
fn rfc3339(ms: u64) -> String {
    let nanos = i128::from(ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .to_offset(UtcOffset::UTC);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, admin: bool) -> Result<Query, String> {
        let reader = Reader {
            client: "alice",
            admin,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(99);
        let pairs = form_urlencoded::parse(query.as_bytes());
        Query::parse(pairs, reader, now).map_err(|error| String::from_utf8(error.body()).unwrap())
    }

    #[test]
    fn times_are_milliseconds_days_or_moments() {
        for (text, expected) in [
            ("", 0),
            ("1700000000000", 1_700_000_000_000),
            ("2026-11-23", 1_795_392_000_000),
            ("2026-11-23T01:00:00Z", 1_795_395_600_000),
            ("2026-11-23T01:00:00.5%2B01:00", 1_795_392_000_500),
        ] {
            let query = parse(&format!("start={text}"), false).unwrap();
            assert_eq!(query.selection.times.start, expected, "{text}");
        }
        assert_eq!(parse("", false).unwrap().selection.times.end, 100);
    }

    #[test]
    fn a_client_sees_its_own_and_an_administrator_all() {
        for (query, admin, expected) in [
            ("", false, Some("alice")),
            ("client=alice", false, Some("alice")),
            ("", true, None),
            ("client=bob", true, Some("bob")),
        ] {
            let selection = parse(query, admin).unwrap().selection;
            assert_eq!(selection.client.as_deref(), expected, "{query} {admin}");
        }
        let refused = parse("client=bob", false).unwrap_err();
        assert!(refused.contains("permission_denied"), "{refused}");
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (query, param) in [
            ("start=soon", "start"),
            ("start[toString]=x&start=-5", "start"),
            ("end=2026-13-01", "end"),
            ("group=week", "group"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=2.7", "limit"),
        ] {
            let refused = parse(query, true).unwrap_err();
            let named = format!(r#""param":"{param}""#);
            assert!(refused.contains(&named), "{query}: {refused}");
        }
    }

    #[test]
    fn sums_have_buckets_where_a_group_was_asked_for() {
        let sums_of = |text: &str| {
            let query = parse(text, true).unwrap();
            let mut all = UsageTotals::default();
            all.buckets.insert(3_600_000, Totals::default());
            String::from_utf8(sums(&query, &all, &RateLimits::default())).unwrap()
        };
        let grouped = sums_of("group=hour&end=5");
        let start =
            r#"{"object":"usage","start":0,"end":5,"group":"hour","requests":0,"errors":0,"#;
        assert!(grouped.starts_with(start), "{grouped}");
        let bucket = r#""buckets":[{"ts":"1970-01-01T01:00:00Z","requests":0,"#;
        assert!(grouped.contains(bucket), "{grouped}");
        assert!(!sums_of("").contains("buckets"));
    }
}
