//! The models that the service serves, and the efforts that each of them has.
//! The sentence about a model is the one that the service sends to a Codex with a ChatGPT login.

use super::field::{Field, listed};
use crate::codex::models::CodexModels;
use crate::scripted_model::error::ApiError;

/// The models that a scripted model accepts.
#[derive(Clone, Debug, Default)]
pub enum ServedModels {
    /// Any model with any effort.
    #[default]
    Any,
    /// The models that a Codex lists, with the efforts that it lists.
    Listed(CodexModels),
    /// One of the models that a Codex lists; the service has retired the others.
    Only(CodexModels, String),
}

impl ServedModels {
    /// These models after the service has retired each but `model`.
    pub(crate) fn only(self, model: String) -> Self {
        let listed = match self {
            Self::Any => CodexModels::new([(&model, &[])]),
            Self::Listed(listed) | Self::Only(listed, _) => listed,
        };
        Self::Only(listed, model)
    }

    /// Checks the model and the effort of a request.
    pub(super) fn check(
        &self,
        model: &Field<'_>,
        effort: Option<&Field<'_>>,
    ) -> Result<(), ApiError> {
        let name = model.text()?;
        let (models, is_served) = match self {
            Self::Any => return Ok(()),
            Self::Listed(models) => (models, true),
            Self::Only(models, only) => (models, only == name),
        };
        let Some(listed_model) = models.find(name).filter(|_| is_served) else {
            return Err(ApiError::invalid(format!(
                "The '{name}' model is not supported when using Codex with a ChatGPT account."
            )));
        };
        let Some(effort) = effort else {
            return Ok(());
        };
        let value = effort.text()?;
        let efforts = &listed_model.efforts;
        if efforts.iter().any(|listed| listed == value) {
            return Ok(());
        }
        let message = format!(
            "Unsupported value: '{value}' is not supported with the '{name}' model. Supported values are: {}.",
            listed(efforts)
        );
        Err(effort.invalid("unsupported_value", message))
    }
}
