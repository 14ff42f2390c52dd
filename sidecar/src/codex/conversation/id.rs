//! The id of a conversation: a keyed hash over its client and its beginning, the same on each sidecar with the secret.
//! HMAC-SHA-256 (RFC 2104), in the form of a UUID of version 4 (RFC 9562, section 5.4), as Codex writes ids.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::ConversationSecret;
use crate::turn::{Content, Item, Message, Profile, Role, TurnRequest};

/// The beginning of the hashed bytes, so that the secret serves no other purpose with the same hash.
const PURPOSE: &[u8] = b"codex-edge conversation 1";

/// The id of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::codex) struct ConversationId([u8; 16]);

/// The session id of a thread, which the provider gets as `prompt_cache_key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::codex) struct SessionId(pub(in crate::codex) String);

impl ConversationId {
    /// Returns the id of the conversation that `request` of `client` belongs to.
    ///
    /// It covers the client's own name of the conversation; without one, the instructions at the beginning and the first message
    /// of the user, which every request of the conversation repeats. Two conversations with one beginning have one id, and the
    /// same beginning in the provider's cache.
    pub(in crate::codex) fn of(
        secret: &ConversationSecret,
        client: &str,
        request: &TurnRequest,
    ) -> Self {
        let mut hash = Hasher::new(secret);
        hash.bytes(PURPOSE);
        hash.bytes(client.as_bytes());
        hash.bytes(match request.profile {
            Profile::Chat => b"chat",
            Profile::Agent => b"agent",
        });
        match &request.hint {
            Some(hint) => {
                hash.bytes(b"named");
                hash.bytes(hint.as_bytes());
            }
            None => beginning(&request.conversation).for_each(|message| hash.message(message)),
        }
        Self(hash.finish())
    }

    /// Returns the id of these bytes.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the id.
    pub(super) fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns a random id.
    pub(super) fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system has a source of randomness");
        Self(as_uuid(bytes))
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl From<ConversationId> for SessionId {
    fn from(id: ConversationId) -> Self {
        Self(id.to_string())
    }
}

/// Returns the messages up to the user's first one.
fn beginning(conversation: &[Item]) -> impl Iterator<Item = &Message> {
    let mut is_over = false;
    conversation
        .iter()
        .map_while(|item| match item {
            Item::Message(message) => Some(message),
            Item::ToolCall(_) | Item::ToolOutput(_) | Item::Reasoning(_) => None,
        })
        .take_while(move |message| {
            !std::mem::replace(&mut is_over, message.role != Role::Developer)
        })
}

/// A keyed hash over fields, each with its length, so that two lists of fields have one hash only if they are equal.
struct Hasher(Hmac<Sha256>);

impl Hasher {
    fn new(secret: &ConversationSecret) -> Self {
        Self(Hmac::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length"))
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn message(&mut self, message: &Message) {
        self.bytes(match message.role {
            Role::Developer => b"developer",
            Role::User => b"user",
            Role::Assistant => b"assistant",
        });
        for content in &message.content {
            match content {
                Content::Text(text) => self.bytes(text.as_bytes()),
                Content::Image(image) => {
                    self.bytes(b"image");
                    self.bytes(image.url.as_bytes());
                }
            }
        }
    }

    fn finish(self) -> [u8; 16] {
        let hash = self.0.finalize().into_bytes();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        as_uuid(bytes)
    }
}

fn as_uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = (bytes[6] & 0x0f) | 0x40; // Version 4.
    bytes[8] = (bytes[8] & 0x3f) | 0x80; // The variant of RFC 9562.
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::conversation::tests::{message, request};

    fn id(secret: &str, client: &str, messages: &[(Role, &str)]) -> String {
        let home = std::path::Path::new("/");
        let secret = ConversationSecret::open(Some(secret), home).unwrap();
        let conversation = messages.iter().map(|(role, text)| message(*role, text));
        ConversationId::of(&secret, client, &request(conversation.collect())).to_string()
    }

    #[test]
    fn id_stays_for_the_length_of_a_conversation() {
        let first = [(Role::Developer, "Be brief."), (Role::User, "Hello.")];
        let later = [
            first[0],
            first[1],
            (Role::Assistant, "Hi."),
            (Role::User, "More."),
        ];
        assert_eq!(id("s", "ann", &first), id("s", "ann", &later));
    }

    #[test]
    fn id_differs_by_secret_client_and_beginning() {
        let first = [(Role::Developer, "Be brief."), (Role::User, "Hello.")];
        let ids = [
            id("s", "ann", &first),
            id("t", "ann", &first),
            id("s", "bob", &first),
            id(
                "s",
                "ann",
                &[(Role::Developer, "Be brief"), (Role::User, ".Hello.")],
            ),
            id(
                "s",
                "ann",
                &[(Role::User, "Be brief."), (Role::User, "Hello.")],
            ),
            id("s", "ann", &[first[0], (Role::User, "Hello!")]),
        ];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn name_that_the_client_gives_decides() {
        let secret = ConversationSecret::open(Some("s"), std::path::Path::new("/")).unwrap();
        let named = |hint: Option<&str>, text: &str| {
            let mut request = request(vec![message(Role::User, text)]);
            request.hint = hint.map(Into::into);
            ConversationId::of(&secret, "ann", &request)
        };
        assert_eq!(named(Some("n"), "a"), named(Some("n"), "b"));
        assert_ne!(named(Some("n"), "a"), named(Some("m"), "a"));
        assert_ne!(named(Some("n"), "a"), named(None, "a"));
    }

    #[test]
    fn id_is_a_uuid_of_version_4() {
        for id in [id("s", "ann", &[]), ConversationId::random().to_string()] {
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(
                id[14..].starts_with('4') && "89ab".contains(&id[19..20]),
                "{id}"
            );
        }
        assert_ne!(ConversationId::random(), ConversationId::random());
    }
}
