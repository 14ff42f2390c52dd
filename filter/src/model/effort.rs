//! The reasoning efforts that a client may use with a model, by the names of the ids.
//!
//! A key may use a model *and* an effort: the effort of the body replaces the one at the end of the id, so `codex-5-low`
//! with `"reasoning_effort": "high"` is `codex-5-high`, and the key must include that id too. The filter knows neither
//! the efforts of the models nor which ids are aliases. It judges ids that end in a usual effort; the sidecar judges all.

use super::{ModelPatterns, normal_id};
use crate::reply::LocalReply;
use crate::scan::EffortNames;

/// The efforts that OpenAI documents; ids may end in them.
const USUAL: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/// The efforts that may mean the same one: with the ids of a family, an effort below the lowest means the lowest.
const LOWEST: [&str; 3] = ["none", "minimal", "low"];

/// A model that is admitted only with certain efforts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffortRule<'a> {
    patterns: &'a ModelPatterns,
    model: &'a str,
    /// The id without its effort, in lower case.
    stem: String,
    own: &'static str,
}

impl<'a> EffortRule<'a> {
    /// Returns the rule for an admitted model; `None` where the efforts of the body do not matter to the filter: the id
    /// has none, or the client may use it with all of them.
    pub fn of(model: &'a str, patterns: &'a ModelPatterns) -> Option<Self> {
        let id = normal_id(model);
        let (stem, own) = USUAL.into_iter().find_map(|effort| {
            let stem = id.strip_suffix(effort)?.strip_suffix('-')?;
            Some((stem.to_owned(), effort))
        })?;
        let rule = Self {
            patterns,
            model,
            stem,
            own,
        };
        let is_open = USUAL.into_iter().all(|effort| rule.allows(effort));
        (!is_open).then_some(rule)
    }

    /// Admits the efforts of a body.
    ///
    /// # Errors
    ///
    /// The rejection: 403, or 400 for a body that repeats their fields beyond what is kept.
    pub fn admit(&self, efforts: &EffortNames) -> Result<(), LocalReply> {
        if efforts.is_overfull() {
            return Err(LocalReply::invalid_json());
        }
        // Spelled as in the sidecar, which ignores the case of an effort.
        let mut names = efforts.names().map(str::to_ascii_lowercase);
        match names.find(|effort| !self.allows(effort)) {
            Some(effort) => Err(LocalReply::effort_not_allowed(self.model, &effort)),
            None => Ok(()),
        }
    }

    fn allows(&self, effort: &str) -> bool {
        let same = match LOWEST.contains(&effort) {
            true => &LOWEST[..],
            false => std::slice::from_ref(&effort),
        };
        same.contains(&self.own)
            || same
                .iter()
                .any(|effort| self.patterns.matches(&format!("{}-{effort}", self.stem)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ModelPattern;
    use super::*;
    use crate::scan::ModelScanner;

    /// The outcome for a client with these patterns: `released` at the model, or the status at the end of the body.
    fn outcome(patterns: &str, model: &str, efforts: &str) -> String {
        let parsed = patterns
            .split(',')
            .map(|text| ModelPattern::parse(text).unwrap());
        let patterns: ModelPatterns = parsed.collect();
        let mut scanner = ModelScanner::with_efforts();
        scanner.feed(format!("{{\"model\":\"m\"{efforts}}}").as_bytes());
        match EffortRule::of(model, &patterns) {
            None => "released".to_owned(),
            Some(rule) => {
                let admitted = rule.admit(scanner.efforts().unwrap());
                admitted.map_or_else(|reply| reply.status.to_string(), |()| "admitted".to_owned())
            }
        }
    }

    #[test]
    fn effort_of_the_body_needs_the_id_of_the_pair() {
        let high = r#","reasoning_effort":"high""#;
        for (patterns, model, efforts, expected) in [
            ("*-low", "codex-5-low", high, "403"),
            ("*-low", " Codex-5-LOW ", high, "403"),
            (
                "*-low",
                "codex-5-low",
                r#","reasoning_effort":"HIGH""#,
                "403",
            ),
            (
                "*-low",
                "codex-5-low",
                r#","reasoning_effort":"huge""#,
                "403",
            ),
            (
                "*-low",
                "codex-5-low",
                r#","reasoning_effort":"low""#,
                "admitted",
            ),
            (
                "*-low",
                "codex-5-low",
                r#","reasoning_effort":"none""#,
                "admitted",
            ),
            ("*-low", "codex-5-low", "", "admitted"),
            ("*-low,*-high", "codex-5-low", high, "admitted"),
            ("codex-5,*-low", "codex-5-low", high, "403"),
            ("codex-5*", "codex-5-low", high, "released"),
            ("*", "codex-5-low", high, "released"),
            ("gpt-5.5", "gpt-5.5", high, "released"),
            ("*-xhigh", "codex-5-xhigh", high, "403"),
            ("*low", "slow", high, "released"),
        ] {
            assert_eq!(
                outcome(patterns, model, efforts),
                expected,
                "{patterns} {model} {efforts}"
            );
        }
    }

    #[test]
    fn body_with_more_efforts_than_are_kept_is_rejected() {
        let many: String = (0..9)
            .map(|n| format!(r#","reasoning_effort":"{n}""#))
            .collect();
        assert_eq!(outcome("*-low", "codex-5-low", &many), "400");
    }
}
