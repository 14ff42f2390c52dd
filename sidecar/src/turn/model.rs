//! The model of a turn, with the settings that the client chose.
//! Codex lists the efforts and service tiers of each model by name, so both are open sets of names.

/// The longest name of an effort or a service tier, in bytes. The names in Codex's lists are shorter.
const MAX_NAME: usize = 32;

/// A model of the provider, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that is sent to the model provider.
    pub name: String,
    /// `None` leaves the effort to Codex.
    pub effort: Option<Effort>,
    /// `None` leaves the verbosity to Codex.
    pub verbosity: Option<Verbosity>,
    /// The service tier that the client chose, by the provider's name; `None` leaves it to Codex.
    pub service_tier: Option<String>,
}

impl Model {
    /// Returns the model `name` with Codex's own settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            effort: None,
            verbosity: None,
            service_tier: None,
        }
    }

    /// Sets the effort; `None` leaves it to Codex.
    #[must_use]
    pub fn with_effort(self, effort: Option<Effort>) -> Self {
        Self { effort, ..self }
    }
}

/// The reasoning effort of a model: a name in lower case, such as `low` or `xhigh`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Effort(Box<str>);

impl Effort {
    /// The efforts that OpenAI documents as less than `low`, the lowest of the models that Codex lists.
    pub const BELOW_LOW: [&str; 2] = ["none", "minimal"];

    /// Parses a name, in upper or lower case: ASCII letters, digits, `-` and `_`.
    pub fn parse(name: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_valid = !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_plain);
        is_valid.then(|| Self(name.to_ascii_lowercase().into()))
    }

    /// Returns the name that OpenAI and Codex share.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the effort is one of [`BELOW_LOW`](Self::BELOW_LOW).
    pub fn is_below_low(&self) -> bool {
        Self::BELOW_LOW.contains(&self.as_str())
    }
}

/// The length of the text that the model writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Short text.
    Low,
    /// Text of the usual length.
    Medium,
    /// Long text.
    High,
}

impl Verbosity {
    /// Returns the name that OpenAI and Codex share.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High]
            .into_iter()
            .find(|verbosity| verbosity.as_str() == name)
    }
}
