//! The search for the end of a string, 64 bytes at a time, since nearly all of a long body is text.
//!
//! Written by hand: memchr finds the next quote, but not whether a backslash escapes it, and chat bodies about code have
//! an escape every twenty bytes, each of which would start a new search.
//! Follows RFC 8259, section 7: a quote ends the string unless a backslash escapes it, and backslashes escape each other.

/// The size of a vector register.
const VECTOR_BYTES: usize = 16;
/// The vectors that are compared together in long text: together they give the bits of a `u64`.
const BLOCK_VECTORS: usize = 4;

type Vector = [u8; VECTOR_BYTES];
type Block = [Vector; BLOCK_VECTORS];

/// Returns the index of the quote that ends the string, if `text`, the content of a string, contains it.
///
/// `escaped` is true if a backslash before `text` escapes its first byte; it is updated for the byte after `text`.
#[inline]
pub(super) fn closing_quote(text: &[u8], escaped: &mut bool) -> Option<usize> {
    // Most strings are short (keys, roles, types) and end in the first vector.
    match text.split_first_chunk() {
        Some((vector, rest)) => closing_quote_of_vectors(&[*vector], escaped)
            .or_else(|| Some(VECTOR_BYTES + closing_quote_of_long(rest, escaped)?)),
        None => closing_quote_of_bytes(text, escaped),
    }
}

/// Separate from the short case and not inlined, so that the wasm engine keeps this loop in registers.
#[inline(never)]
fn closing_quote_of_long(text: &[u8], escaped: &mut bool) -> Option<usize> {
    let (vectors, tail): (&[Vector], _) = text.as_chunks();
    let (blocks, vectors): (&[Block], _) = vectors.as_chunks();
    let mut start = 0;
    for block in blocks {
        if let Some(at) = closing_quote_of_vectors(block, escaped) {
            return Some(start + at);
        }
        start += BLOCK_VECTORS * VECTOR_BYTES;
    }
    for vector in vectors {
        if let Some(at) = closing_quote_of_vectors(&[*vector], escaped) {
            return Some(start + at);
        }
        start += VECTOR_BYTES;
    }
    Some(start + closing_quote_of_bytes(tail, escaped)?)
}

#[inline]
fn closing_quote_of_vectors<const N: usize>(
    vectors: &[Vector; N],
    escaped: &mut bool,
) -> Option<usize> {
    let quotes = vector::find(vectors, b'"');
    // Without a quote only a final backslash matters: it may escape the byte after these vectors.
    if quotes == 0 && vectors.as_flattened().last() != Some(&b'\\') {
        *escaped = false;
        return None;
    }
    let backslashes = vector::find(vectors, b'\\');
    let closing = quotes & !escaped_bytes(backslashes, N * VECTOR_BYTES, escaped);
    (closing != 0).then(|| {
        *escaped = false;
        closing.trailing_zeros() as usize
    })
}

fn closing_quote_of_bytes(text: &[u8], escaped: &mut bool) -> Option<usize> {
    text.iter().position(|byte| {
        let is_escaped = std::mem::replace(escaped, *byte == b'\\' && !*escaped);
        *byte == b'"' && !is_escaped
    })
}

/// Returns the escaped bytes among the first `bytes`, given the backslashes; bit i stands for byte i.
///
/// In a run of backslashes every other one escapes the next byte, starting with the first that is not escaped itself.
/// A subtraction finds them in all runs at once: its borrow goes through a run and stops behind it. After the odd bits
/// are removed again, the escaping backslashes and the end of each escaping run are left.
fn escaped_bytes(backslashes: u64, bytes: usize, escaped: &mut bool) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let first = u64::from(*escaped);
    let free = backslashes & !first;
    let escapes_and_ends = ((free << 1) | ODD).wrapping_sub(free) ^ ODD;
    *escaped = (escapes_and_ends & backslashes) >> (bytes - 1) & 1 == 1;
    escapes_and_ends ^ (backslashes | first)
}

/// The search with vector instructions (`.cargo/config.toml` enables them for the wasm target).
#[cfg(target_feature = "simd128")]
mod vector {
    use core::arch::wasm32::{
        u8x16_bitmask, u8x16_eq, u8x16_splat, v128, v128_any_true, v128_load, v128_or,
    };

    use super::{VECTOR_BYTES, Vector};

    /// Returns the positions of this byte: bit i stands for byte i.
    pub(super) fn find<const N: usize>(vectors: &[Vector; N], byte: u8) -> u64 {
        let equal = vectors
            .each_ref()
            .map(|vector| u8x16_eq(load(vector), u8x16_splat(byte)));
        let either = |found, equal| v128_or(found, equal);
        if !v128_any_true(equal.into_iter().fold(u8x16_splat(0), either)) {
            return 0;
        }
        let with = |bits, equal| bits << VECTOR_BYTES | u64::from(u8x16_bitmask(equal));
        equal.into_iter().rev().fold(0, with)
    }

    /// Loads a vector in one instruction; the compiler makes sixteen of any safe way.
    #[expect(unsafe_code, reason = "a load goes through a raw pointer")]
    fn load(bytes: &Vector) -> v128 {
        // SAFETY: the reference covers sixteen bytes, and the load needs no alignment.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }
}

/// The search without vector instructions, for native builds: eight bytes at a time in a `u64`.
#[cfg(not(target_feature = "simd128"))]
mod vector {
    use super::Vector;

    const WORD_BYTES: usize = 8;

    /// Returns the positions of this byte: bit i stands for byte i.
    pub(super) fn find<const N: usize>(vectors: &[Vector; N], byte: u8) -> u64 {
        let wanted = u64::from_ne_bytes([byte; WORD_BYTES]);
        let (words, _) = vectors.as_flattened().as_chunks();
        let with = |bits, word: &[u8; WORD_BYTES]| {
            bits << WORD_BYTES | zero_bytes(u64::from_le_bytes(*word) ^ wanted)
        };
        words.iter().rev().fold(0, with)
    }

    /// Returns the zero bytes of a word. The highest bit of each byte is cleared before the addition, so that no carry
    /// leaves its byte; the multiplication collects the eight highest bits.
    fn zero_bytes(word: u64) -> u64 {
        const LOWER_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        const GATHER: u64 = 0x0102_0408_1020_4080;
        let zeros = !(((word & LOWER_BITS) + LOWER_BITS) | word | LOWER_BITS);
        (zeros >> 7).wrapping_mul(GATHER) >> 56
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by RFC 8259 one byte at a time; the second value is true if the byte after the text is escaped.
    fn bytewise(text: &[u8], escaped: bool) -> (Option<usize>, bool) {
        let mut escaped = escaped;
        for (index, byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return (Some(index), false),
                _ => {}
            }
        }
        (None, escaped)
    }

    proptest! {
        #[test]
        fn end_is_that_of_a_bytewise_search(
            text in "[a\u{e9}]{0,140}[a\"\\\\]{0,80}[a\u{e9}]{0,140}[a\"\\\\]{0,8}",
            escaped: bool,
        ) {
            let text = text.as_bytes();
            let mut seen = escaped;
            let end = closing_quote(text, &mut seen);
            prop_assert_eq!((end, seen), bytewise(text, escaped));
        }
    }

    #[test]
    fn quote_is_found_at_every_offset_of_every_length() {
        for len in 0..200 {
            for at in 0..len {
                let mut text = vec![b'a'; len];
                text[at] = b'"';
                let mut escaped = false;
                assert_eq!(
                    closing_quote(&text, &mut escaped),
                    Some(at),
                    "{at} of {len}"
                );
            }
        }
    }
}
