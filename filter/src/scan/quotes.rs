//! Where the quotes are, for 64 bytes at a time: nearly all of a long body is text, and only a quote ends it.
//! RFC 8259, section 7.

/// Bytes that are looked at together: four vectors, as many bits as a `u64` has.
pub(super) const BLOCK_BYTES: usize = 64;

/// A block of bytes.
pub(super) type Block = [u8; BLOCK_BYTES];

/// How many of these blocks go by before one with a quote in it.
#[inline(never)]
pub(super) fn blocks_without(blocks: &[Block]) -> usize {
    blocks.iter().take_while(|block| !simd::any(block)).count()
}

/// Bit i is set when byte i of the block is a quote.
pub(super) fn quotes(block: &Block) -> u64 {
    simd::bits(block)
}

#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{
        u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2, v128, v128_any_true, v128_or,
    };

    use super::Block;

    pub(super) fn any(block: &Block) -> bool {
        let [a, b, c, d] = equal(block);
        v128_any_true(v128_or(v128_or(a, b), v128_or(c, d)))
    }

    pub(super) fn bits(block: &Block) -> u64 {
        let [a, b, c, d] = equal(block).map(|lanes| u64::from(u8x16_bitmask(lanes)));
        a | b << 16 | c << 32 | d << 48
    }

    fn equal(block: &Block) -> [v128; 4] {
        let (words, _) = block.as_chunks::<8>();
        let [a, b, c, d, e, f, g, h] = words else { unreachable!() };
        // The compiler makes one load of a vector out of its two words.
        [(a, b), (c, d), (e, f), (g, h)].map(|(low, high)| {
            let bytes = u64x2(u64::from_le_bytes(*low), u64::from_le_bytes(*high));
            u8x16_eq(bytes, u8x16_splat(b'"'))
        })
    }
}

#[cfg(not(target_feature = "simd128"))]
mod simd {
    use super::Block;

    pub(super) fn any(block: &Block) -> bool {
        block.contains(&b'"')
    }

    pub(super) fn bits(block: &Block) -> u64 {
        block
            .iter()
            .rev()
            .fold(0, |bits, byte| bits << 1 | u64::from(*byte == b'"'))
    }
}

/// Whether the quote after `text` belongs to the string: then an odd run of backslashes stands before it.
///
/// `text` is what this chunk has of the string so far, `carried` the same question at its beginning.
pub(super) fn is_escaped(text: &[u8], carried: bool) -> bool {
    let run = text.iter().rev().take_while(|byte| **byte == b'\\').count();
    (run % 2 == 1) ^ (carried && run == text.len())
}
