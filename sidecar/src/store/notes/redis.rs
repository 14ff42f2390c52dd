//! The notes in Redis, which the sidecars of a fleet share.

use redis::{Script, cmd, pipe};

use super::note::{KnownNotes, Note};
use crate::store::redis::{LinkError, RedisLink};

/// Session ids that are kept, at about 300 bytes each, of all sidecars together.
const MAX_SESSIONS: usize = 1 << 14;

const SESSIONS: &str = "codex-edge:sessions";
const SESSION_TIMES: &str = "codex-edge:sessions:times";
const RATIOS: &str = "codex-edge:ratios";

/// The notes.
#[derive(Debug, Clone)]
pub(in crate::store) struct RedisNotes {
    link: RedisLink,
    script: Script,
}

impl RedisNotes {
    pub(in crate::store) fn new(link: RedisLink) -> Self {
        Self {
            link,
            script: Script::new(include_str!("notes.lua")),
        }
    }

    /// Writes a note.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(in crate::store) async fn write(&self, note: &Note) -> Result<(), LinkError> {
        match note {
            // The models are those of Codex, and the last sidecar that learns is right.
            Note::Ratio {
                model,
                chars,
                tokens,
            } => {
                let mut set = pipe();
                set.hset(RATIOS, model, format!("{chars} {tokens}"))
                    .ignore();
                self.link.pipe(&set).await
            }
            Note::Session {
                conversation,
                session,
            } => {
                let mut call = self.script.prepare_invoke();
                call.key(SESSIONS).key(SESSION_TIMES);
                call.arg(conversation.as_slice())
                    .arg(session)
                    .arg(MAX_SESSIONS);
                self.link.invoke(&call).await
            }
            // Another sidecar may have begun the next thread since.
            Note::Forgotten { .. } => Ok(()),
        }
    }

    /// Returns the ratios. Session ids are looked up one by one.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(in crate::store) async fn read(&self) -> Result<KnownNotes, LinkError> {
        let mut get = pipe();
        get.add_command(cmd("HGETALL").arg(RATIOS).to_owned());
        let (ratios,): (Vec<(String, String)>,) = self.link.pipe(&get).await?;
        let parsed = ratios.into_iter().filter_map(|(model, text)| {
            let (chars, tokens) = text.split_once(' ')?;
            Some((model, chars.parse().ok()?, tokens.parse().ok()?))
        });
        Ok(KnownNotes {
            ratios: parsed.collect(),
            sessions: Vec::new(),
        })
    }

    /// Returns the session id of a conversation.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(in crate::store) async fn session(
        &self,
        conversation: [u8; 16],
    ) -> Result<Option<String>, LinkError> {
        let mut get = pipe();
        get.hget(SESSIONS, conversation.as_slice());
        let (session,) = self.link.pipe(&get).await?;
        Ok(session)
    }
}
