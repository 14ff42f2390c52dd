//! The models that Codex lists, and the one that it uses by default.

use crate::turn::Effort;

/// A model in Codex's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodexModel {
    /// The name that is sent to the model provider.
    pub name: String,
    /// The efforts that the model has, the lowest first.
    pub efforts: Vec<Effort>,
    /// The context window in tokens, where Codex reports one.
    pub context_window: Option<u64>,
    /// Whether the model has the setting `verbosity`.
    pub has_verbosity: bool,
    /// The service tiers beside the default one, by the provider's names.
    pub service_tiers: Vec<String>,
    /// Whether Codex offers the model to its users.
    pub is_visible: bool,
    /// The place in Codex's order; the lowest is Codex's own default.
    pub priority: i64,
}

/// The models of a Codex, with the default model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodexModels {
    /// In Codex's order.
    models: Vec<CodexModel>,
    default: String,
    /// The efforts that Codex accepts for a model which is not in its list; `None` accepts any.
    unlisted_efforts: Option<Vec<Effort>>,
}

impl CodexModels {
    /// Returns the models of `list`. Without a `default` of the operator, the visible model with the lowest priority
    /// is the default. `None` when there is neither.
    pub fn new(mut list: Vec<CodexModel>, default: Option<&str>) -> Option<Self> {
        list.sort_by_key(|model| model.priority);
        let first_visible = || list.iter().find(|model| model.is_visible);
        let default = default.or_else(|| Some(first_visible()?.name.as_str()))?;
        Some(Self {
            default: default.to_owned(),
            models: list,
            unlisted_efforts: None,
        })
    }

    /// Returns an empty list, where `default` is the only model and the provider decides on its efforts.
    pub fn only(default: impl Into<String>) -> Self {
        Self {
            models: Vec::new(),
            default: default.into(),
            unlisted_efforts: None,
        }
    }

    /// Returns the models of a Codex that reports no list, where every model has the same `efforts`.
    pub fn without_list(default: &str, efforts: Vec<Effort>) -> Self {
        Self {
            models: Vec::new(),
            default: default.to_owned(),
            unlisted_efforts: Some(efforts),
        }
    }

    /// Returns the name of the default model, which need not be in the list.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Returns the model `name` of the list.
    pub fn get(&self, name: &str) -> Option<&CodexModel> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Returns the models that Codex offers to its users, in Codex's order.
    pub fn visible(&self) -> impl Iterator<Item = &CodexModel> {
        self.models.iter().filter(|model| model.is_visible)
    }

    /// Returns the efforts of the model `name`, the lowest first; `None` where Codex lists none, and the provider
    /// decides.
    pub fn efforts(&self, name: &str) -> Option<&[Effort]> {
        match self.get(name) {
            Some(model) => Some(&model.efforts),
            None => self.unlisted_efforts.as_deref(),
        }
    }
}
