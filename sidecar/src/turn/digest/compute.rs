//! The computation of the digests of a request.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::digests::{ConversationDigest, Digest};
use super::hasher::{Hasher, reasoning};
use crate::turn::{Effort, Item, Profile, TurnRequest, Verbosity};

impl ConversationDigest {
    /// Returns the digests of a request; O(bytes of the request).
    pub fn of(request: &TurnRequest) -> Self {
        let mut prefix = thread_settings(request);
        let mut digest = Self {
            prefixes: vec![prefix],
            reasoning: HashSet::new(),
            turn_settings: turn_settings(request),
        };
        for item in &request.conversation {
            if let Item::Reasoning(item) = item {
                let place = digest.len();
                digest.reasoning.insert((place, reasoning(item)));
            } else {
                let mut hash = Hasher::default();
                hash.bytes(&prefix.0);
                hash.item(item);
                prefix = hash.finish();
                digest.prefixes.push(prefix);
            }
        }
        digest
    }
}

/// The settings that a thread has from its start.
fn thread_settings(request: &TurnRequest) -> Digest {
    let mut hash = Hasher::default();
    let model = &request.model;
    hash.byte(match request.profile {
        Profile::Chat => 0,
        Profile::Agent => 1,
    });
    hash.text(&model.name);
    // The effort and the tier of a turn stay those of its thread, so that a turn without them would keep them.
    hash.optional(model.effort.as_ref().map(Effort::as_str));
    hash.optional(model.service_tier.as_deref());
    hash.optional(model.verbosity.map(Verbosity::as_str));
    request
        .tools
        .offered
        .iter()
        .for_each(|tool| hash.tool(tool));
    hash.finish()
}

fn turn_settings(request: &TurnRequest) -> Digest {
    let mut hash = Hasher::default();
    hash.text(request.summary.as_str());
    hash.optional(request.schema.as_deref().map(RawValue::get));
    hash.finish()
}
