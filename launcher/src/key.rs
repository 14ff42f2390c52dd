//! `codex-edge key`: makes an API key, and prints the entry of `filter.yaml` that admits it.
//! The fields are those of the filter's `config/keys.rs`; a test reads the printed line with the filter's own parser.

use std::fs::File;
use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The arguments of `codex-edge key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Name of the client: its usage, its rate and its lines in the logs have it
    #[arg(long, value_parser = client_id)]
    id: String,
}

/// Makes a key and prints it. Only the printed text has the key itself: the filter needs its hash alone.
///
/// # Errors
/// When the system has no random source, or stdout cannot be written.
pub fn key(args: &KeyArgs) -> Result<()> {
    let key = new_key()?;
    io::stdout()
        .write_all(text(&args.id, &key).as_bytes())
        .context("cannot print the key")
}

/// Makes a random API key.
///
/// # Errors
/// When the system has no random source.
pub fn new_key() -> Result<String> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot make a key from /dev/urandom")?;
    Ok(format!(
        "sk-codex-edge-{:032x}",
        u128::from_ne_bytes(random)
    ))
}

fn text(id: &str, key: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(key));
    let entry = json!({"id": id, "sha256": sha256});
    format!(
        "key     {key}\nsha256  {sha256}\n\n\
         The key is not stored anywhere: give it to the client now. In filter.yaml, add the entry to `keys`:\n\n        \
         value: '{{\"hold_headers\": true, \"keys\": [{entry}]}}'\n"
    )
}

/// Parses a client's id as the filter does.
fn client_id(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if !text.is_empty() && text.len() <= MAX_ID_BYTES && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1 to {MAX_ID_BYTES} letters, digits and ._@-"
        ))
    }
}

/// The filter's limit of a client's id, in bytes (`MAX_NAME_BYTES`).
const MAX_ID_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use filter::config::{Config, Environment};

    use super::*;

    /// The ids of the clients that the filter admits with the printed line.
    fn clients(id: &str) -> Vec<String> {
        let printed = text(id, &new_key().unwrap());
        let json = printed
            .lines()
            .find_map(|line| line.trim().strip_prefix("value: '")?.strip_suffix('\''))
            .expect("the line of filter.yaml is printed");
        let config = Config::load(json.as_bytes(), &Environment::new(), SystemTime::now())
            .expect("the filter accepts the line");
        assert_eq!(config.warnings, Vec::<String>::new());
        let clients = config.keyring.clients();
        clients.map(|client| client.id.clone()).collect()
    }

    #[test]
    fn filter_reads_the_printed_line() {
        let longest = "x".repeat(MAX_ID_BYTES);
        for id in ["ann", "ann@example.com", "a_b-c.1", &longest] {
            assert_eq!(client_id(id).as_deref(), Ok(id));
            assert_eq!(clients(id), [id]);
        }
    }

    #[test]
    fn ids_that_the_filter_rejects_are_refused() {
        for id in ["", "a b", "a'b", "a\"b", "é", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert!(client_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_key_is_long_and_differs_each_time() {
        let keys = [new_key().unwrap(), new_key().unwrap()];
        assert!(
            keys.iter()
                .all(|key| key.len() == "sk-codex-edge-".len() + 32),
            "{keys:?}"
        );
        assert_ne!(keys[0], keys[1]);
    }
}
