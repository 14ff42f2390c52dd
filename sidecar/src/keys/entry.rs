//! A new key, and its entry in the configuration of the filter. The fields are those of the filter's `config/keys.rs`.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::args::{KeyProfile, NewArgs};

/// A key that is printed once.
#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) key: String,
    pub(super) sha256: String,
}

impl NewKey {
    /// Makes a random key.
    ///
    /// # Errors
    /// The system has no random source.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let key = format!("sk-codex-edge-{}", hex(&random));
        let sha256 = hex(&Sha256::digest(&key));
        Ok(Self { key, sha256 })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes any text");
        text
    })
}

/// An entry of `keys`.
#[derive(Debug, Serialize)]
pub(super) struct Entry<'a> {
    id: &'a str,
    sha256: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    models: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    admin: bool,
}

impl<'a> Entry<'a> {
    pub(super) fn new(args: &'a NewArgs, key: &'a NewKey) -> Self {
        Self {
            id: &args.id,
            sha256: &key.sha256,
            models: &args.models,
            budget: args.budget.as_deref(),
            profile: args.profile.map(|profile| match profile {
                KeyProfile::Chat => "chat",
                KeyProfile::Agent => "agent",
            }),
            expires_at: args.expires_at.as_deref(),
            admin: args.admin,
        }
    }

    /// Returns the entry as JSON on one line.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and flags are JSON")
    }
}
