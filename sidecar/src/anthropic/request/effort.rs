//! The effort of a turn: `output_config.effort`, of the request or of its last system message that has one, else what
//! `thinking` stands for.

use super::thinking::Thinking;
use crate::openai::models::ModelAccess;
use crate::openai::request::model::{self, Setting};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::Effort;

/// The efforts of OpenAI's models, the lowest first.
const RANKS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The highest effort of Anthropic's API. A model without it uses its own highest.
const MAX: &str = "max";

/// The path of the effort in a system message.
const IN_MESSAGE: &str = "messages[].output_config.effort";

/// The fields that decide the effort.
pub(super) struct EffortFields<'a> {
    /// That of the last system message with one.
    pub(super) in_message: Option<&'a str>,
    pub(super) output_config: Option<&'a str>,
    pub(super) thinking: Thinking,
}

impl EffortFields<'_> {
    /// Returns the efforts that the fields ask for; the first one counts. An effort that stands for another one is added
    /// to `ignored` with the effort that is used.
    ///
    /// # Errors
    /// 400 for a name that is not an effort.
    pub(super) fn settings(
        &self,
        models: &ModelAccess<'_>,
        id: Option<&str>,
        ignored: &mut IgnoredFields,
    ) -> Result<Vec<Setting<Effort>>, ApiError> {
        let known = models.efforts(id);
        let own = known.as_deref().unwrap_or_default();
        let mut settings = model::efforts([
            (IN_MESSAGE, self.in_message),
            ("output_config.effort", self.output_config),
        ])?;
        for Setting { param, value } in &mut settings {
            // The API's highest effort on a model that ends below.
            if value.as_str() == MAX
                && let Some(highest) = own.last().filter(|_| !own.contains(value))
            {
                ignored.add_if(&format!("{param}=max"), true);
                *value = highest.clone();
            }
        }
        if !settings.is_empty() {
            return Ok(settings);
        }
        let (param, wanted) = match self.thinking {
            Thinking::Adaptive => return Ok(settings),
            Thinking::Budget(budget) => {
                ("thinking.budget_tokens", Thinking::effort_of_budget(budget))
            }
            Thinking::Disabled => ("thinking.type", Effort::parse("none")),
        };
        let value = match (&known, self.thinking) {
            (None, Thinking::Disabled) => None,
            (None, _) => wanted,
            (Some(own), _) => wanted.and_then(|wanted| nearest(&wanted, own)),
        };
        if let Some(value) = &value {
            let is_off = self.thinking == Thinking::Disabled && value.as_str() == "none";
            ignored.add_if(&format!("{param}={}", value.as_str()), !is_off);
        }
        settings.extend(value.map(|value| Setting { param, value }));
        Ok(settings)
    }
}

/// Returns the effort of a model that is closest to `wanted` and not above it, else its lowest; `None` for a model without
/// efforts.
fn nearest(wanted: &Effort, own: &[Effort]) -> Option<Effort> {
    let rank = |effort: &Effort| RANKS.iter().position(|name| *name == effort.as_str());
    let is_not_above = |effort: &&Effort| rank(effort).is_some() && rank(effort) <= rank(wanted);
    let found = own.iter().rfind(is_not_above);
    found.or(own.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_effort_is_the_highest_that_is_not_above() {
        let efforts = |names: &[&str]| -> Vec<Effort> {
            names
                .iter()
                .filter_map(|name| Effort::parse(name))
                .collect()
        };
        for (wanted, own, expected) in [
            ("medium", &["low", "medium", "high"][..], Some("medium")),
            ("high", &["low", "medium"], Some("medium")),
            ("none", &["low", "medium"], Some("low")),
            ("none", &["none", "low"], Some("none")),
            ("low", &[], None),
        ] {
            let found = nearest(&Effort::parse(wanted).unwrap(), &efforts(own));
            assert_eq!(found.as_ref().map(Effort::as_str), expected, "{wanted}");
        }
    }
}
