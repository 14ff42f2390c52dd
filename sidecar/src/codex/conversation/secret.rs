//! The secret of the ids of conversations: the operator's, or a random one that is kept in Codex's home.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file of the random secret, beside the file that the sidecar locks.
const SECRET_FILE: &str = ".codex-edge-conversation-secret";

/// Bytes of a random secret, those of the hash.
const SECRET_BYTES: usize = 32;

/// A secret. It tells nothing about its value.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::codex) struct ConversationSecret(Box<[u8]>);

impl ConversationSecret {
    /// Returns the secret `operators`, or the random one of `home`, which is created at its first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(in crate::codex) fn open(operators: Option<&str>, home: &Path) -> io::Result<Self> {
        match operators {
            Some(text) => Ok(Self(text.as_bytes().into())),
            None => Self::of_home(home),
        }
    }

    fn of_home(home: &Path) -> io::Result<Self> {
        let path = home.join(SECRET_FILE);
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the operating system has a source of randomness");
        let created = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(hex(&secret).as_bytes()));
        match created {
            // The text of an existing file counts as it stands, as the operator's does.
            Ok(()) => Ok(Self(hex(&secret).as_bytes().into())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(&path)?;
                match text.trim() {
                    "" => Err(io::Error::new(io::ErrorKind::InvalidData, "empty file")),
                    secret => Ok(Self(secret.as_bytes().into())),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ConversationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn random_secret_is_private_and_stays() {
        let home = tempfile::tempdir().unwrap();
        let first = ConversationSecret::open(None, home.path()).unwrap();
        let file = fs::metadata(home.path().join(SECRET_FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert!(first.bytes().len() >= SECRET_BYTES);
        let second = ConversationSecret::open(None, home.path()).unwrap();
        assert_eq!(first, second, "the same after a restart");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(first, ConversationSecret::open(None, other.path()).unwrap());
        let operators = ConversationSecret::open(Some("shared"), home.path()).unwrap();
        assert_eq!(operators.bytes(), b"shared");
        assert_eq!(format!("{first:?}"), "[redacted]");
    }

    #[test]
    fn file_that_cannot_be_a_secret_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(SECRET_FILE), " \n").unwrap();
        assert!(ConversationSecret::open(None, home.path()).is_err());
        assert!(ConversationSecret::open(None, &home.path().join("missing")).is_err());
    }
}
