//! The model catalogue: the models that exist, and those that a client may use.
//! Model ids are compared as in the sidecar: letter case and surrounding spaces do not matter.

use super::{ModelPatterns, normal_id};
use crate::reply::LocalReply;
use crate::scan::{ModelField, ScanError};

/// The models of this deployment, and the default.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The models that exist; `None` leaves the decision to the upstream.
    pub models: Option<ModelPatterns>,
    /// The model of a body without `model`. Without a default such a body is rejected, unless neither `models` nor the
    /// client's key restricts the models.
    pub default_model: Option<String>,
}

impl Catalogue {
    /// Admits the model of a body for a client that is restricted to `allowed` (`None`: unrestricted).
    ///
    /// # Errors
    ///
    /// The rejection: 400, 403 or 404.
    pub fn admit(
        &self,
        field: &ModelField,
        allowed: Option<&ModelPatterns>,
    ) -> Result<(), LocalReply> {
        match field {
            ModelField::Named(model) => self.admit_model(model, allowed),
            ModelField::Missing => match &self.default_model {
                Some(model) => self.admit_model(model, allowed),
                None if self.models.is_none() && allowed.is_none() => Ok(()),
                None => Err(LocalReply::invalid_model(
                    "`model` is required. `GET /v1/models` lists the available models.",
                )),
            },
            ModelField::Invalid(ScanError::TooLong) => Err(LocalReply::model_not_found(
                "with a name of more than 256 bytes",
            )),
            ModelField::Invalid(ScanError::NotAString) => {
                Err(LocalReply::invalid_model("`model` must be a string."))
            }
            ModelField::Invalid(
                ScanError::Empty
                | ScanError::NotAnObject
                | ScanError::TooDeep
                | ScanError::Malformed,
            ) => Err(LocalReply::invalid_json()),
        }
    }

    fn admit_model(&self, model: &str, allowed: Option<&ModelPatterns>) -> Result<(), LocalReply> {
        let id = normal_id(model);
        let exists = |models: &ModelPatterns| models.matches(&id);
        if !self.models.as_ref().is_none_or(exists) {
            return Err(LocalReply::model_not_found(model));
        }
        // After the lookup: a restricted key learns that a model exists, but an unknown one is 404 for every key.
        if !allowed.is_none_or(|patterns| patterns.matches(&id)) {
            return Err(LocalReply::model_not_allowed(model));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ModelPattern;
    use super::*;

    #[test]
    fn model_is_admitted_by_catalogue_and_key() {
        let patterns = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| ModelPattern::parse(text).unwrap())
                .collect::<ModelPatterns>()
        };
        let catalogue = Catalogue {
            models: Some(patterns(&["codex-5", "codex-5-low", "gpt-5"])),
            default_model: Some("gpt-5".to_owned()),
        };
        let only_codex = patterns(&["codex-*"]);
        let named = |model: &str| ModelField::Named(model.to_owned());
        let cases = [
            (named("codex-5"), None, 200),
            (named("Codex-5-LOW"), None, 200),
            (named(" codex-5 "), None, 200),
            (named("codex-6"), None, 404),
            (named(""), None, 404),
            (named("codex-5"), Some(&only_codex), 200),
            (named("gpt-5"), Some(&only_codex), 403),
            (named("codex-6"), Some(&only_codex), 404),
            (ModelField::Missing, None, 200),
            (ModelField::Missing, Some(&only_codex), 403),
            (ModelField::Invalid(ScanError::TooLong), None, 404),
            (ModelField::Invalid(ScanError::NotAString), None, 400),
            (ModelField::Invalid(ScanError::Empty), None, 400),
            (ModelField::Invalid(ScanError::NotAnObject), None, 400),
            (ModelField::Invalid(ScanError::TooDeep), None, 400),
            (ModelField::Invalid(ScanError::Malformed), None, 400),
        ];
        for (field, allowed, expected) in cases {
            let status = catalogue
                .admit(&field, allowed)
                .map_or_else(|reply| reply.status, |()| 200);
            assert_eq!(status, expected, "{field:?}");
        }
    }

    #[test]
    fn missing_model_without_default_is_rejected() {
        let any: ModelPatterns = ModelPattern::parse("*").into_iter().collect();
        for (models, allowed, is_admitted) in [
            (Some(any.clone()), None, false),
            (None, Some(&any), false),
            (None, None, true),
        ] {
            let catalogue = Catalogue {
                models,
                default_model: None,
            };
            let admitted = catalogue.admit(&ModelField::Missing, allowed);
            assert_eq!(admitted.is_ok(), is_admitted, "{catalogue:?} {allowed:?}");
        }
    }
}
