//! Ids and creation times of response objects.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Random characters of an id after its prefix.
pub(crate) const ID_CHARACTERS: usize = 24;

const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 that fits a byte: random bytes from there on are dropped, so that no character is more
/// likely than another.
const UNBIASED: u8 = 248;

/// Returns a fresh id such as `chatcmpl-Xy…`, with 142 random bits. The bits come from the operating system, because
/// the id alone guards a stored response where all callers share one client (`auth: none`).
pub(crate) fn fresh_id(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + ID_CHARACTERS);
    id.push_str(prefix);
    let end = prefix.len() + ID_CHARACTERS;
    let mut random = [0; ID_CHARACTERS + 8];
    while id.len() < end {
        getrandom::fill(&mut random).expect("the operating system has a source of randomness");
        let characters = random
            .iter()
            .filter(|byte| **byte < UNBIASED)
            .map(|byte| char::from(ALPHANUMERIC[usize::from(byte % 62)]));
        id.extend(characters.take(end - id.len()));
    }
    id
}

/// Returns seconds since the epoch, the format of OpenAI's `created`.
pub(crate) fn unix_seconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fresh_ids_have_the_documented_shape_and_differ() {
        let ids: HashSet<_> = (0..1000).map(|_| fresh_id("resp_")).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let random = id.strip_prefix("resp_").expect("the prefix");
            assert_eq!(random.len(), ID_CHARACTERS, "{id}");
            assert!(
                random.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{id}"
            );
        }
    }
}
