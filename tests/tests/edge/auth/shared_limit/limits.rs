//! What the rate limit service counts by: its configuration, as limits of Limitador.
//! Follows the format of envoyproxy/ratelimit, as far as `deploy/ratelimit/config.yaml` uses it.

use limitador::RateLimiter;
use limitador::limit::Limit;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    domain: String,
    descriptors: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
    key: String,
    value: Option<String>,
    rate_limit: Option<Rate>,
    #[serde(default)]
    descriptors: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    unit: Period,
    requests_per_unit: u32,
}

/// How long a limit counts before it begins anew.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Period {
    Minute,
    Day,
}

impl Period {
    const ALL: [Self; 2] = [Self::Minute, Self::Day];

    /// The one that is `seconds` long.
    pub(super) fn of_seconds(seconds: u64) -> Self {
        let found = Self::ALL.iter().find(|period| period.seconds() == seconds);
        *found.expect("limits are made of these")
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Day => 24 * 60 * 60,
        }
    }
}

/// An engine that counts as the YAML `config` says.
pub(super) fn limiter(config: &str) -> RateLimiter {
    let config: Config = serde_saphyr::from_str(config).expect("the format is that of envoyproxy");
    let limiter = RateLimiter::new(1000);
    for limit in limits(&config.domain, &config.descriptors, &Rule::default()) {
        limiter.add_limit(limit);
    }
    limiter
}

/// Where a limit applies, and what each of its counters is for.
#[derive(Clone, Default)]
struct Rule {
    conditions: Vec<String>,
    variables: Vec<String>,
}

/// The limits among `siblings` and below, within `outer`.
fn limits(domain: &str, siblings: &[Descriptor], outer: &Rule) -> Vec<Limit> {
    let mut limits = Vec::new();
    for descriptor in siblings {
        let rule = narrowed(outer, descriptor, siblings);
        limits.extend(descriptor.rate_limit.as_ref().map(|rate| {
            let conditions = rule.conditions.iter().map(|text| text.as_str().try_into());
            let variables = rule.variables.iter().map(|text| text.as_str().try_into());
            Limit::new(
                domain,
                rate.requests_per_unit.into(),
                rate.unit.seconds(),
                conditions.map(|parsed| parsed.expect("it is CEL")),
                variables.map(|parsed| parsed.expect("it is CEL")),
            )
        }));
        limits.extend(self::limits(domain, &descriptor.descriptors, &rule));
    }
    limits
}

/// A descriptor with a value is for that; one without is for every other, and counts each alone.
fn narrowed(outer: &Rule, descriptor: &Descriptor, siblings: &[Descriptor]) -> Rule {
    let mut rule = outer.clone();
    let entry = format!("descriptors[0].{}", descriptor.key);
    if let Some(value) = &descriptor.value {
        rule.conditions.push(format!("{entry} == '{value}'"));
    } else {
        let named = siblings
            .iter()
            .filter_map(|sibling| sibling.value.as_deref());
        let others = named.map(|value| format!("{entry} != '{value}'"));
        rule.conditions.extend(others);
        rule.variables.push(entry);
    }
    rule
}
