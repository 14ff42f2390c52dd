//! The configuration of the rate limit service, converted to the limits of Limitador.
//! Follows the format of envoyproxy/ratelimit, as far as `deploy/ratelimit/config.yaml` uses it.

use limitador::RateLimiter;
use limitador::limit::Limit;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitConfig {
    domain: String,
    descriptors: Vec<LimitDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitDescriptor {
    key: String,
    value: Option<String>,
    rate_limit: Option<DescriptorRate>,
    #[serde(default)]
    descriptors: Vec<LimitDescriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptorRate {
    unit: LimitPeriod,
    requests_per_unit: u32,
}

/// The window of a limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LimitPeriod {
    Minute,
    Day,
}

impl LimitPeriod {
    const ALL: [Self; 2] = [Self::Minute, Self::Day];

    /// Returns the period of `seconds` seconds.
    pub(super) fn of_seconds(seconds: u64) -> Self {
        let found = Self::ALL.iter().find(|period| period.seconds() == seconds);
        *found.expect("`limits` creates limits of these periods only")
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Day => 24 * 60 * 60,
        }
    }
}

/// Returns a Limitador engine with the limits of the YAML text `config`.
pub(super) fn limiter(config: &str) -> RateLimiter {
    let config: RateLimitConfig =
        serde_saphyr::from_str(config).expect("the format of envoyproxy/ratelimit");
    let limiter = RateLimiter::new(1000);
    for limit in limits(&config.domain, &config.descriptors, &LimitScope::default()) {
        limiter.add_limit(limit);
    }
    limiter
}

/// The conditions under which a limit applies, and the descriptor entries that each have a separate counter.
#[derive(Clone, Default)]
struct LimitScope {
    conditions: Vec<String>,
    variables: Vec<String>,
}

/// Returns the limits of `siblings` and their descendants, within the scope `outer`.
fn limits(domain: &str, siblings: &[LimitDescriptor], outer: &LimitScope) -> Vec<Limit> {
    let mut limits = Vec::new();
    for descriptor in siblings {
        let scope = narrowed(outer, descriptor, siblings);
        limits.extend(descriptor.rate_limit.as_ref().map(|rate| {
            let conditions = scope.conditions.iter().map(|text| text.as_str().try_into());
            let variables = scope.variables.iter().map(|text| text.as_str().try_into());
            Limit::new(
                domain,
                rate.requests_per_unit.into(),
                rate.unit.seconds(),
                conditions.map(|parsed| parsed.expect("a CEL expression")),
                variables.map(|parsed| parsed.expect("a CEL expression")),
            )
        }));
        limits.extend(self::limits(domain, &descriptor.descriptors, &scope));
    }
    limits
}

/// Narrows `outer` to `descriptor`: a descriptor with a value applies to that value; one without a value applies to the
/// values that its siblings do not name, with a counter for each value.
fn narrowed(
    outer: &LimitScope,
    descriptor: &LimitDescriptor,
    siblings: &[LimitDescriptor],
) -> LimitScope {
    let mut scope = outer.clone();
    let entry = format!("descriptors[0].{}", descriptor.key);
    if let Some(value) = &descriptor.value {
        scope.conditions.push(format!("{entry} == '{value}'"));
    } else {
        let other_values = siblings
            .iter()
            .filter_map(|sibling| sibling.value.as_deref())
            .map(|value| format!("{entry} != '{value}'"));
        scope.conditions.extend(other_values);
        scope.variables.push(entry);
    }
    scope
}
