//! The tools of a client as dynamic tools of `thread/start`.
//! The shapes are those of the app-server's protocol in Codex 0.169.0; a namespace stands beside the functions.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::names;
use crate::turn::Tool;

/// A tool, or a namespace with tools.
#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub(crate) enum DynamicTool<'a> {
    Function {
        name: Cow<'a, str>,
        description: &'a str,
        input_schema: &'a RawValue,
    },
    Namespace {
        name: String,
        description: &'a str,
        tools: Vec<Self>,
    },
}

/// Returns the tools in their order; a namespace comes where its first tool does.
pub(crate) fn dynamic_tools(offered: &[Tool]) -> Vec<DynamicTool<'_>> {
    let mut all: Vec<DynamicTool<'_>> = Vec::with_capacity(offered.len());
    for tool in offered {
        let function = DynamicTool::Function {
            name: names::to_codex(&tool.name),
            description: &tool.description,
            input_schema: &tool.parameters,
        };
        let namespace = tool.namespace.as_deref();
        let Some((namespace, mapped)) = namespace.and_then(|namespace| {
            Some((namespace, names::namespace_to_codex(Some(&namespace.name))?))
        }) else {
            all.push(function);
            continue;
        };
        let known = all.iter_mut().find_map(|other| match other {
            DynamicTool::Namespace { name, tools, .. } if *name == mapped => Some(tools),
            DynamicTool::Namespace { .. } | DynamicTool::Function { .. } => None,
        });
        match known {
            Some(tools) => tools.push(function),
            None => all.push(DynamicTool::Namespace {
                name: mapped,
                description: &namespace.description,
                tools: vec![function],
            }),
        }
    }
    all
}
