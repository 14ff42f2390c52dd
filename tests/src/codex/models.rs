//! The models that a Codex lists, read from the program itself: `codex debug models --bundled`.
//! The scripted model accepts these alone, and tests name no other, so that neither can drift from the Codex under test.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use xtask::tools::Tool;

use crate::codex::{codex_binary, codex_tool};

/// The efforts of `gpt-5`, the only model that tests use with `codex proto`.
const PROTO_EFFORTS: &[&str] = &["minimal", "low", "medium", "high"];

/// A model of a Codex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodexModel {
    /// The name in requests.
    pub id: String,
    /// Whether Codex shows the model to its users.
    pub visible: bool,
    /// The place in Codex's list; Codex's default is the visible model with the lowest one.
    pub priority: i64,
    /// The reasoning efforts that a request may have, lowest first.
    pub efforts: Vec<String>,
}

/// The models that a Codex lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodexModels(Vec<CodexModel>);

impl CodexModels {
    /// The models of the Codex at `program`, which is started with an empty home: neither a login nor a setting changes
    /// the list.
    ///
    /// # Errors
    /// When the program cannot be run, or prints something else.
    pub fn read(program: &Path) -> io::Result<Self> {
        let home = TempDir::new()?;
        let output = Command::new(program)
            .args(["debug", "models", "--bundled"])
            .env("CODEX_HOME", home.path())
            .output()?;
        let invalid = |reason: String| {
            let text = format!("{} debug models: {reason}", program.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(invalid(format!("{}: {reason}", output.status)));
        }
        let printed = serde_json::from_slice(&output.stdout)
            .map_err(|error| invalid(format!("the output is not JSON: {error}")))?;
        Self::parse(&printed).ok_or_else(|| invalid("the output lists no models".to_owned()))
    }

    /// The models of a fetched Codex, read once in a process.
    ///
    /// # Panics
    /// When `tool` is another program, or was not fetched.
    pub fn of(tool: Tool) -> &'static Self {
        static CURRENT: OnceLock<CodexModels> = OnceLock::new();
        static OLDEST: OnceLock<CodexModels> = OnceLock::new();
        static PROTO: OnceLock<CodexModels> = OnceLock::new();
        let read = || {
            let program = codex_binary(tool);
            Self::read(Path::new(&program)).expect("Codex lists its models")
        };
        match tool {
            Tool::Codex => CURRENT.get_or_init(read),
            Tool::CodexOldest => OLDEST.get_or_init(read),
            Tool::CodexProto => PROTO.get_or_init(|| Self::new([("gpt-5", PROTO_EFFORTS)])),
            other => panic!("{other:?} is not a Codex"),
        }
    }

    /// Visible models with these names and efforts, the default first. Codex 0.42.0 cannot list its models.
    pub fn new<const N: usize>(models: [(&str, &[&str]); N]) -> Self {
        let visible = |(priority, (id, efforts)): (i64, (&str, &[&str]))| CodexModel {
            id: id.to_owned(),
            visible: true,
            priority,
            efforts: efforts.iter().copied().map(str::to_owned).collect(),
        };
        Self((0..).zip(models).map(visible).collect())
    }

    /// The output of `codex debug models --bundled`; `None` without a model.
    fn parse(printed: &Value) -> Option<Self> {
        let model = |entry: &Value| {
            let levels = entry["supported_reasoning_levels"].as_array()?;
            let effort = |level: &Value| Some(level["effort"].as_str()?.to_owned());
            Some(CodexModel {
                id: entry["slug"].as_str()?.to_owned(),
                visible: entry["visibility"] == "list",
                priority: entry["priority"].as_i64()?,
                efforts: levels.iter().map(effort).collect::<Option<_>>()?,
            })
        };
        let models: Vec<CodexModel> = printed["models"]
            .as_array()?
            .iter()
            .map(model)
            .collect::<Option<_>>()?;
        (!models.is_empty()).then_some(Self(models))
    }

    /// The model with this name, whether visible or not.
    pub fn find(&self, id: &str) -> Option<&CodexModel> {
        self.0.iter().find(|model| model.id == id)
    }

    /// The models that Codex shows to its users, the default first.
    pub fn visible(&self) -> Vec<&CodexModel> {
        let mut models: Vec<&CodexModel> = self.0.iter().filter(|model| model.visible).collect();
        models.sort_by_key(|model| model.priority);
        models
    }

    /// The model that Codex uses without a setting.
    ///
    /// # Panics
    /// When no model is visible.
    pub fn default_model(&self) -> &CodexModel {
        let visible = self.visible();
        visible.first().expect("a Codex has a visible model")
    }
}

/// The default model of the Codex under test.
pub fn default_model() -> &'static str {
    &CodexModels::of(codex_tool()).default_model().id
}

/// The visible models of the Codex under test, the default first.
pub fn visible_models() -> Vec<&'static str> {
    let models = CodexModels::of(codex_tool()).visible();
    models.into_iter().map(|model| model.id.as_str()).collect()
}

/// The efforts of a model of the Codex under test, lowest first.
///
/// # Panics
/// When the Codex under test does not list `model`.
pub fn efforts(model: &str) -> &'static [String] {
    let listed = CodexModels::of(codex_tool()).find(model);
    &listed
        .unwrap_or_else(|| panic!("Codex does not list {model}"))
        .efforts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn default_is_the_visible_model_with_the_lowest_priority() {
        let entry = |slug: &str, visibility: &str, priority: i64| {
            json!({"slug": slug, "visibility": visibility, "priority": priority,
                "supported_reasoning_levels": [{"effort": "low"}, {"effort": "max"}]})
        };
        let printed = json!({"models": [
            entry("second", "list", 2), entry("hidden", "hide", 0), entry("first", "list", 1),
        ]});
        let models = CodexModels::parse(&printed).expect("models are listed");
        assert_eq!(models.default_model().id, "first");
        assert_eq!(models.default_model().efforts, ["low", "max"]);
        let visible: Vec<&str> = models.visible().iter().map(|model| &*model.id).collect();
        assert_eq!(visible, ["first", "second"]);
        assert!(models.find("hidden").is_some_and(|model| !model.visible));
        assert_eq!(CodexModels::parse(&json!({"models": []})), None);
        assert_eq!(
            CodexModels::parse(&json!({"models": [{"slug": "a"}]})),
            None
        );
    }
}
