//! Calls of the sidecar, and their parameters.

use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::history::HistoryItem;
use super::rollout::RebuiltThread;
use super::tools::{DynamicTool, dynamic_tools};
use crate::codex::app_server::ids::{ThreadId, TurnId};
use crate::codex::launch::sandbox::Workspace;
use crate::turn::{TurnRequest, Verbosity};

/// A call, which gets a response with the same id.
#[derive(Serialize)]
pub(crate) struct Call<'a, P> {
    pub(crate) id: u64,
    pub(crate) method: &'a str,
    pub(crate) params: P,
}

/// Notifications that the sidecar does not use, and that the child is asked not to write.
const UNUSED_NOTIFICATIONS: [&str; 6] = [
    "thread/started",
    "thread/status/changed",
    "thread/settings/updated",
    "turn/started",
    "remoteControl/status/changed",
    "mcpServer/startupStatus/updated",
];

/// The setting of a thread for the length of the model's text.
const VERBOSITY: &str = "model_verbosity";

/// Returns the parameters of `initialize`.
pub(crate) fn initialize() -> Value {
    json!({
        "clientInfo": {
            "name": "codex-edge",
            "title": "codex-edge",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "capabilities": {
            "experimentalApi": true,
            "requestAttestation": false,
            "optOutNotificationMethods": UNUSED_NOTIFICATIONS,
        },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThreadStart<'a> {
    ephemeral: bool,
    model: &'a str,
    approval_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_tools: Vec<DynamicTool<'a>>,
    /// Asks for the model's items as the provider sent them: calls with their arguments, reasoning, refusals.
    experimental_raw_events: bool,
    #[serde(flatten)]
    kind: ThreadKind<'a>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum ThreadKind<'a> {
    /// A plain model: the client's prompt only, without tools of Codex.
    Plain {
        base_instructions: &'static str,
        environments: [(); 0],
        #[serde(skip_serializing_if = "Value::is_null")]
        config: Value,
    },
    /// An agent: Codex's own prompt and tools, in the turn's workspace.
    Agent { cwd: &'a Path, config: Value },
}

impl<'a> ThreadStart<'a> {
    /// Returns the parameters of a thread that is not stored on disk. With a workspace, the turn has the agent profile.
    pub(crate) fn new(request: &'a TurnRequest, workspace: Option<&'a Workspace>) -> Self {
        let verbosity = request.model.verbosity.map(Verbosity::as_str);
        let kind = match workspace {
            None => ThreadKind::Plain {
                base_instructions: "",
                environments: [],
                config: plain_config(request),
            },
            Some(workspace) => {
                let mut config = workspace.settings(request.token_cap.as_ref());
                if let Some(verbosity) = verbosity {
                    config[VERBOSITY] = verbosity.into();
                }
                ThreadKind::Agent {
                    cwd: workspace.folder(),
                    config,
                }
            }
        };
        Self {
            ephemeral: true,
            model: &request.model.name,
            approval_policy: "never",
            sandbox: workspace.map_or(Some("read-only"), Workspace::sandbox),
            dynamic_tools: dynamic_tools(&request.tools.offered),
            experimental_raw_events: true,
            kind,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InjectItems<'a> {
    pub(crate) thread_id: &'a ThreadId,
    pub(crate) items: Vec<HistoryItem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnStart<'a> {
    pub(crate) thread_id: &'a ThreadId,
    pub(crate) input: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_tier: Option<&'a str>,
    pub(crate) summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnInterrupt {
    pub(crate) thread_id: ThreadId,
    pub(crate) turn_id: TurnId,
}

/// The parameters of `thread/resume`. What `thread/start` takes beside them comes from the rollout file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThreadResume<'a> {
    thread_id: &'a str,
    path: &'a Path,
    /// The result has no history, which the sidecar does not read.
    exclude_turns: bool,
    model: &'a str,
    approval_policy: &'static str,
    sandbox: &'static str,
    base_instructions: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    config: Value,
}

impl<'a> ThreadResume<'a> {
    pub(crate) fn new(request: &'a TurnRequest, rebuilt: &'a RebuiltThread) -> Self {
        Self {
            thread_id: &rebuilt.id,
            path: &rebuilt.path,
            exclude_turns: true,
            model: &request.model.name,
            approval_policy: "never",
            sandbox: "read-only",
            base_instructions: "",
            config: plain_config(request),
        }
    }
}

/// The parameters of `thread/unsubscribe` and `thread/delete`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AboutOneThread<'a> {
    pub(crate) thread_id: &'a ThreadId,
}

/// Returns the settings of a thread of a plain model; null for none.
fn plain_config(request: &TurnRequest) -> Value {
    let verbosity = request.model.verbosity.map(Verbosity::as_str);
    verbosity.map_or(Value::Null, |verbosity| json!({VERBOSITY: verbosity}))
}
