//! The provider's prompt cache: counts the tokens of a prompt that an earlier request with the same key had sent.
//! The source is OpenAI's guide "Prompt caching": prefixes from 1,024 tokens, in steps of 128 tokens.
//!
//! A prompt is cut into blocks of 128 tokens. The cache keeps a hash for each block, computed over the block and all
//! blocks before it, so that a block counts only when the whole prompt up to its end was sent before.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, PoisonError};

use crate::scripted_model::request::TOKEN_BYTES;

/// Tokens of a block.
const BLOCK_TOKENS: usize = 128;
/// Blocks of the smallest prefix that counts: 1,024 tokens.
const SMALLEST_PREFIX: usize = 1024 / BLOCK_TOKENS;
/// Blocks of all keys, 16 MiB of hashes: eight thousand conversations of 128 kB.
const KEPT_BLOCKS: usize = 2 << 20;
/// Keys with at least one block; the least recently used key is looked for among them.
const KEPT_KEYS: usize = 4096;

/// The prefixes of earlier prompts by `prompt_cache_key`; the least recently used keys are dropped first.
#[derive(Debug)]
pub(crate) struct PromptCache {
    prefixes: Mutex<Prefixes>,
}

#[derive(Debug)]
struct Prefixes {
    keys: HashMap<String, KeyBlocks>,
    /// Sum of the blocks of all keys.
    blocks: usize,
    /// Number of the latest request.
    clock: u64,
    bounds: Bounds,
}

/// The blocks of the prompts with one key.
#[derive(Debug, Default)]
struct KeyBlocks {
    hashes: HashSet<u64>,
    /// Number of the latest request with the key.
    used: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    keys: usize,
    blocks: usize,
}

impl Default for PromptCache {
    fn default() -> Self {
        Self::bounded(Bounds {
            keys: KEPT_KEYS,
            blocks: KEPT_BLOCKS,
        })
    }
}

impl PromptCache {
    fn bounded(bounds: Bounds) -> Self {
        let prefixes = Prefixes {
            keys: HashMap::new(),
            blocks: 0,
            clock: 0,
            bounds,
        };
        Self {
            prefixes: Mutex::new(prefixes),
        }
    }

    /// Tokens at the start of `prompt` that an earlier prompt with `key` began with; keeps `prompt` for later requests.
    pub(crate) fn cached_tokens(&self, key: &str, prompt: &[u8]) -> u64 {
        let hashes = block_hashes(prompt);
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = prefixes.common_blocks(key, &hashes);
        prefixes.keep(key, hashes);
        match blocks {
            0..SMALLEST_PREFIX => 0,
            _ => (blocks * BLOCK_TOKENS) as u64,
        }
    }
}

impl Prefixes {
    fn common_blocks(&self, key: &str, hashes: &[u64]) -> usize {
        let is_kept = |hash: &&u64| {
            let kept = self.keys.get(key);
            kept.is_some_and(|kept| kept.hashes.contains(hash))
        };
        hashes.iter().take_while(is_kept).count()
    }

    fn keep(&mut self, key: &str, hashes: Vec<u64>) {
        if hashes.len() < SMALLEST_PREFIX || hashes.len() > self.bounds.blocks {
            return;
        }
        self.clock += 1;
        let kept = self.keys.entry(key.to_owned()).or_default();
        kept.used = self.clock;
        let before = kept.hashes.len();
        kept.hashes.extend(hashes);
        self.blocks += kept.hashes.len() - before;
        while self.blocks > self.bounds.blocks || self.keys.len() > self.bounds.keys {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.keys.iter().min_by_key(|(_, kept)| kept.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone())
            && let Some(dropped) = self.keys.remove(&key)
        {
            self.blocks -= dropped.hashes.len();
        }
    }
}

/// A hash for each whole block, over the prompt from its start to the end of the block.
fn block_hashes(prompt: &[u8]) -> Vec<u64> {
    let mut prefix = DefaultHasher::new();
    prompt
        .chunks_exact(BLOCK_TOKENS * TOKEN_BYTES)
        .map(|block| {
            prefix.write(block);
            prefix.finish()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the smallest prefix that counts.
    const SMALLEST: usize = 1024 * TOKEN_BYTES;

    #[test]
    fn prefix_counts_in_steps_of_128_tokens_from_1024_on() {
        for (common, expected) in [
            (0, 0),
            (SMALLEST - 1, 0),
            (SMALLEST, 1024),
            (SMALLEST + 511, 1024),
            (SMALLEST + 512, 1152),
            (10 * SMALLEST, 10_240),
        ] {
            let cache = PromptCache::default();
            let [first, second] = [b"a", b"b"].map(|end| {
                let mut prompt = vec![b'x'; common];
                prompt.extend(end.repeat(SMALLEST));
                prompt
            });
            assert_eq!(cache.cached_tokens("key", &first), 0);
            assert_eq!(cache.cached_tokens("other", &second), 0, "{common}");
            assert_eq!(cache.cached_tokens("key", &second), expected, "{common}");
        }
    }

    #[test]
    fn prompt_that_branches_off_an_earlier_one_counts_their_common_prefix() {
        let cache = PromptCache::default();
        let long = vec![b'x'; 4 * SMALLEST];
        assert_eq!(cache.cached_tokens("key", &long), 0);
        assert_eq!(cache.cached_tokens("key", &long[..2 * SMALLEST]), 2048);
        assert_eq!(cache.cached_tokens("key", &long), 4096);
        assert_eq!(cache.cached_tokens("key", &long[..SMALLEST - 1]), 0);
    }

    #[test]
    fn least_recently_used_key_is_dropped_above_a_bound() {
        let prompt = vec![b'x'; SMALLEST];
        let blocks = SMALLEST_PREFIX;
        for bounds in [
            Bounds {
                keys: 2,
                blocks: 1000,
            },
            Bounds {
                keys: 1000,
                blocks: 2 * blocks,
            },
        ] {
            let cache = PromptCache::bounded(bounds);
            let cached =
                ["a", "b", "a", "c", "a", "b"].map(|key| cache.cached_tokens(key, &prompt));
            assert_eq!(cached, [0, 0, 1024, 0, 1024, 0], "{bounds:?}");
            let prefixes = cache.prefixes.lock().expect("the lock is not poisoned");
            assert_eq!((prefixes.keys.len(), prefixes.blocks), (2, 2 * blocks));
        }
    }

    #[test]
    fn prompt_above_the_bound_of_all_keys_is_not_kept() {
        let bounds = Bounds {
            keys: 2,
            blocks: SMALLEST_PREFIX,
        };
        let cache = PromptCache::bounded(bounds);
        let prompt = vec![b'x'; 2 * SMALLEST];
        assert_eq!(cache.cached_tokens("key", &prompt[..SMALLEST]), 0);
        assert_eq!(cache.cached_tokens("key", &prompt), 1024);
        assert_eq!(cache.cached_tokens("key", &prompt), 1024);
    }
}
