//! The model that a request asks for, with its settings: checked against Codex's entry for the model.
//! OpenAI API reference; the efforts and service tiers of a model are those that Codex lists.

use crate::catalogue::CatalogueId;
use crate::openai::IgnoredFields;
use crate::openai::response::error::ApiError;
use crate::turn::{Effort, Model, Verbosity};

/// The service tiers that OpenAI documents.
const SERVICE_TIERS: [&str; 5] = ["auto", "default", "flex", "scale", "priority"];

/// The tier that Codex passes on for every model, although its list of tiers names faster ones only.
const FLEX_TIER: &str = "flex";

/// A setting with the path of its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The path, as in OpenAI's `param`.
    pub param: &'static str,
    /// The value of the field.
    pub value: T,
}

/// The fields of a request that decide its model.
#[derive(Debug, Clone, Default)]
pub struct RequestedModel<'a> {
    /// The id of the model; without one, the default model is used if that is allowed.
    pub id: Option<&'a str>,
    /// The reasoning efforts of all fields that have one. The first wins, also over the one that the id selects.
    pub efforts: Vec<Setting<Effort>>,
    /// The length of the text.
    pub verbosity: Option<Setting<Verbosity>>,
    /// `service_tier`, unchecked.
    pub service_tier: Option<&'a str>,
}

impl RequestedModel<'_> {
    /// Returns the model behind `id` with the settings of the request. Settings that the model does not have are added
    /// to `ignored`, except for the effort.
    ///
    /// # Errors
    /// 400 for an effort that the model does not have, and for a service tier that OpenAI does not document.
    pub(crate) fn settings(
        &self,
        id: &CatalogueId<'_>,
        ignored: &mut IgnoredFields,
    ) -> Result<Model, ApiError> {
        Ok(Model {
            name: id.model.to_owned(),
            effort: self.effort(id, ignored)?,
            verbosity: self.verbosity(id, ignored),
            service_tier: self.service_tier(id, ignored)?,
        })
    }

    fn effort(
        &self,
        id: &CatalogueId<'_>,
        ignored: &mut IgnoredFields,
    ) -> Result<Option<Effort>, ApiError> {
        if self.efforts.is_empty() {
            return id
                .effort
                .map(|effort| effort_of_model("model", effort, id, ignored))
                .transpose();
        }
        // All fields are checked, not only the one that wins: an effort that the model does not have is a mistake of the
        // client in any of them.
        let efforts: Vec<_> = self
            .efforts
            .iter()
            .map(|Setting { param, value }| effort_of_model(param, value, id, ignored))
            .collect::<Result<_, _>>()?;
        Ok(efforts.into_iter().next())
    }

    fn verbosity(&self, id: &CatalogueId<'_>, ignored: &mut IgnoredFields) -> Option<Verbosity> {
        let Setting { param, value } = self.verbosity.as_ref()?;
        let has_verbosity = id.codex_model.is_some_and(|model| model.has_verbosity);
        ignored.add_if(param, !has_verbosity);
        has_verbosity.then_some(*value)
    }

    fn service_tier(
        &self,
        id: &CatalogueId<'_>,
        ignored: &mut IgnoredFields,
    ) -> Result<Option<String>, ApiError> {
        let Some(tier) = self.service_tier else {
            return Ok(None);
        };
        let is_of_model = id.codex_model.is_some_and(|model| {
            tier == FLEX_TIER || model.service_tiers.iter().any(|own| own == tier)
        });
        if is_of_model {
            return Ok(Some(tier.to_owned()));
        }
        if !SERVICE_TIERS.contains(&tier) {
            let text = format!(
                "Invalid service tier {tier:?}. Use {}.",
                SERVICE_TIERS.join(", ")
            );
            return Err(ApiError::invalid(text).at("service_tier"));
        }
        // `auto` and `default` name the tier that is used anyway.
        ignored.add_if("service_tier", !matches!(tier, "auto" | "default"));
        Ok(None)
    }
}

/// Returns the effort that the model uses for `effort` of the field `param`.
fn effort_of_model(
    param: &str,
    effort: &Effort,
    id: &CatalogueId<'_>,
    ignored: &mut IgnoredFields,
) -> Result<Effort, ApiError> {
    let Some(used) = id.used_effort(effort) else {
        let efforts = id.efforts.unwrap_or_default();
        return Err(unsupported_effort(param, id, effort, efforts));
    };
    if used != effort {
        let field = if param == "model" {
            "reasoning_effort"
        } else {
            param
        };
        ignored.add_if(&format!("{field}={}", effort.as_str()), true);
    }
    Ok(used.clone())
}

fn unsupported_effort(
    param: &str,
    id: &CatalogueId<'_>,
    effort: &Effort,
    efforts: &[Effort],
) -> ApiError {
    let effort = effort.as_str();
    let names: Vec<_> = efforts.iter().map(Effort::as_str).collect();
    let advice = match names.as_slice() {
        [] => "It has none; leave the effort out.".to_owned(),
        names => format!("Use {}.", names.join(", ")),
    };
    let text = format!(
        "The model {} does not support the reasoning effort {effort:?}. {advice}",
        id.id
    );
    ApiError::unsupported(param, text)
}

/// Returns the efforts of those of these fields that have one.
///
/// # Errors
/// 400 when a field does not hold the name of an effort.
pub(crate) fn efforts<const N: usize>(
    fields: [(&'static str, Option<&str>); N],
) -> Result<Vec<Setting<Effort>>, ApiError> {
    fields
        .into_iter()
        .filter_map(|(param, value)| Some((param, value?)))
        .map(|(param, value)| {
            let invalid = || {
                let text = format!(
                    "Invalid reasoning effort {value:?}. Use a name such as low, medium or high."
                );
                ApiError::unsupported(param, text)
            };
            let value = Effort::parse(value).ok_or_else(invalid)?;
            Ok(Setting { param, value })
        })
        .collect()
}

/// Returns the verbosity that `param` asks for.
///
/// # Errors
/// 400 when `value` is not one that OpenAI documents.
pub(crate) fn verbosity(
    param: &'static str,
    value: Option<&str>,
) -> Result<Option<Setting<Verbosity>>, ApiError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let invalid = || {
        let text = format!("`{param}` must be one of low, medium, high, not {value:?}.");
        ApiError::invalid(text).at(param)
    };
    let value = Verbosity::parse(value).ok_or_else(invalid)?;
    Ok(Some(Setting { param, value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    /// The settings of a request for `id`, and the ignored fields; or the error's `param` and body.
    fn settings(id: &str, requested: &RequestedModel<'_>) -> Result<(Model, String), String> {
        let catalogue = Catalogue::of_model("gpt-x");
        let mut ignored = IgnoredFields::default();
        let model = requested.settings(&catalogue.find(id).unwrap(), &mut ignored);
        match model {
            Ok(model) => Ok((model, ignored.list().unwrap_or_default())),
            Err(error) => Err(String::from_utf8(error.body()).unwrap()),
        }
    }

    fn with_effort(effort: &str) -> RequestedModel<'static> {
        RequestedModel {
            efforts: efforts([("reasoning_effort", Some(effort))]).unwrap(),
            ..RequestedModel::default()
        }
    }

    #[test]
    fn an_effort_below_the_lowest_of_a_public_id_means_the_lowest() {
        for (id, requested, expected, listed) in [
            ("codex-5", with_effort("xhigh"), Some("xhigh"), ""),
            ("codex-5-low", with_effort("HIGH"), Some("high"), ""),
            ("codex-5-high", RequestedModel::default(), Some("high"), ""),
            ("codex-5", RequestedModel::default(), None, ""),
            (
                "codex-5",
                with_effort("minimal"),
                Some("low"),
                "reasoning_effort=minimal",
            ),
            (
                "codev-5-none",
                RequestedModel::default(),
                Some("low"),
                "reasoning_effort=none",
            ),
        ] {
            let (model, ignored) = settings(id, &requested).unwrap();
            let effort = model.effort.as_ref().map(Effort::as_str);
            assert_eq!((effort, ignored.as_str()), (expected, listed), "{id}");
        }
    }

    #[test]
    fn an_effort_that_the_model_does_not_have_is_rejected_with_its_efforts() {
        for (id, effort) in [("gpt-x", "minimal"), ("codex-5", "ultra")] {
            let error = settings(id, &with_effort(effort)).unwrap_err();
            assert!(error.contains("Use low, medium, high, xhigh."), "{error}");
            assert!(error.contains("\"param\":\"reasoning_effort\""), "{error}");
        }
    }

    #[test]
    fn settings_that_the_model_does_not_have_are_ignored_and_unknown_tiers_rejected() {
        let requested = |tier| RequestedModel {
            verbosity: verbosity("verbosity", Some("low")).unwrap(),
            service_tier: Some(tier),
            ..RequestedModel::default()
        };
        let (model, ignored) = settings("codex-5", &requested("priority")).unwrap();
        assert_eq!(model.verbosity, Some(Verbosity::Low));
        assert_eq!(model.service_tier.as_deref(), Some("priority"));
        assert_eq!(ignored, "");
        let (model, ignored) = settings("codex-5", &requested("flex")).unwrap();
        assert_eq!(model.service_tier.as_deref(), Some("flex"));
        assert_eq!(ignored, "");
        let (model, ignored) = settings("codex-5", &requested("scale")).unwrap();
        assert_eq!(
            (model.service_tier, ignored.as_str()),
            (None, "service_tier")
        );
        let error = settings("codex-5", &requested("fastest")).unwrap_err();
        assert!(
            error.contains("auto, default, flex, scale, priority"),
            "{error}"
        );

        let catalogue = Catalogue::new(
            &crate::catalogue::CatalogueSettings::default(),
            crate::catalogue::CodexModels::only("local"),
        );
        let mut ignored = IgnoredFields::default();
        let id = catalogue.find("local").unwrap();
        let model = requested("default").settings(&id, &mut ignored).unwrap();
        assert_eq!(model, Model::new("local"));
        assert_eq!(ignored.list().as_deref(), Some("verbosity"));
    }
}
