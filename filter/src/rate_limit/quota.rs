//! The result of a charge, and its `x-ratelimit-*` headers.
//! Header names and durations follow OpenAI's API reference.

use std::time::Duration;

/// The state of a bucket after a charge, accepted or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The size of the bucket in requests.
    pub limit: u32,
    /// The requests that would be accepted at once.
    pub remaining: u32,
    /// The time until the bucket is full again.
    pub reset: Duration,
}

/// The bucket has no token for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The state of the bucket: no request left, and the time until it is full again.
    pub quota: Quota,
    /// The time until the next request is accepted.
    pub retry_after: Duration,
}

impl Quota {
    /// The response headers.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("x-ratelimit-limit-requests", self.limit.to_string()),
            ("x-ratelimit-remaining-requests", self.remaining.to_string()),
            ("x-ratelimit-reset-requests", write_duration(self.reset)),
        ]
    }
}

/// Writes a duration as OpenAI does: `20ms`, `1s`, `6m0s`, `1h0m0s`.
fn write_duration(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = millis.div_ceil(1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_openais_format() {
        let cases = [
            (0, "0ms"),
            (20, "20ms"),
            (999, "999ms"),
            (1000, "1s"),
            (1001, "2s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
        ];
        for (millis, text) in cases {
            assert_eq!(write_duration(Duration::from_millis(millis)), text);
        }
    }
}
