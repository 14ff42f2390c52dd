//! The end of a string, for nearly all of a long body is text: 64 bytes at a time, from quote to quote.
//! RFC 8259, section 7: a quote ends the string unless an odd run of backslashes stands before it.

/// Bytes that are looked at together: four vectors, as many bits as a `u64` has.
const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

/// The index of the quote that ends the string, if it is in `text`, which is the inside of a string.
///
/// `escaped` says whether the first byte stands after a backslash that escapes it.
#[inline(never)]
pub(super) fn closing_quote(text: &[u8], escaped: bool) -> Option<usize> {
    let closes = |at: &usize| !ends_escaped(text.get(..*at).unwrap_or_default(), escaped);
    let (blocks, tail) = text.as_chunks::<BLOCK_BYTES>();
    for (index, block) in blocks.iter().enumerate() {
        let mut quotes = simd::quotes(block);
        while quotes != 0 {
            let at = index * BLOCK_BYTES + quotes.trailing_zeros() as usize;
            if closes(&at) {
                return Some(at);
            }
            quotes &= quotes - 1;
        }
    }
    let base = text.len() - tail.len();
    tail.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'"')
        .map(|(index, _)| base + index)
        .find(closes)
}

/// Whether the byte after `text` is escaped; `escaped` is the same question for its first byte.
pub(super) fn ends_escaped(text: &[u8], escaped: bool) -> bool {
    let run = text.iter().rev().take_while(|byte| **byte == b'\\').count();
    (run % 2 == 1) ^ (escaped && run == text.len())
}

#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2, v128_any_true, v128_or};

    use super::Block;

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes(block: &Block) -> u64 {
        let (words, _) = block.as_chunks::<8>();
        let [a, b, c, d, e, f, g, h] = words else {
            return 0;
        };
        // The compiler makes one load of a vector out of its two words.
        let [a, b, c, d] = [(a, b), (c, d), (e, f), (g, h)].map(|(low, high)| {
            let bytes = u64x2(u64::from_le_bytes(*low), u64::from_le_bytes(*high));
            u8x16_eq(bytes, u8x16_splat(b'"'))
        });
        if !v128_any_true(v128_or(v128_or(a, b), v128_or(c, d))) {
            return 0;
        }
        let [a, b, c, d] = [a, b, c, d].map(|equal| u64::from(u8x16_bitmask(equal)));
        a | b << 16 | c << 32 | d << 48
    }
}

#[cfg(not(target_feature = "simd128"))]
mod simd {
    use super::Block;

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes(block: &Block) -> u64 {
        block
            .iter()
            .rev()
            .fold(0, |bits, byte| bits << 1 | u64::from(*byte == b'"'))
    }
}
