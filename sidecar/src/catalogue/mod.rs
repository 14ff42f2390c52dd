//! The model ids that clients may use, and the Codex model and effort behind each.
//! [`CodexModels`] is the list that Codex reports, [`CatalogueSettings`] the operator's part, [`Catalogue`] both.

mod codex_models;
mod ids;
mod settings;
#[cfg(test)]
mod tests;

pub use codex_models::{CodexModel, CodexModels};
pub use ids::{Catalogue, CatalogueId};
pub use settings::{CatalogueSettings, ModelOverride};
