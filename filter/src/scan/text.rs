//! The end of a string, for nearly all of a long body is text: 64 bytes at a time, from quote to quote.
//! RFC 8259, section 7: a quote ends the string unless an odd run of backslashes stands before it.

/// Bytes that one vector holds.
const VECTOR_BYTES: usize = 16;
/// Vectors that are looked at together in long text: as many as give the bits of a `u64`.
const BLOCK_VECTORS: usize = 4;
const BLOCK_BYTES: usize = BLOCK_VECTORS * VECTOR_BYTES;

type Vector = [u8; VECTOR_BYTES];
type Block = [Vector; BLOCK_VECTORS];

/// The index of the quote that ends the string, if it is in `text`, which is the inside of a string.
///
/// `escaped` says whether a backslash before `text` escapes its first byte.
#[inline]
pub(super) fn closing_quote(text: &[u8], escaped: bool) -> Option<usize> {
    // Most strings are short (keys, roles, types): their end is in the first vector.
    if let Some(start) = text.first_chunk() {
        let at = vector::quotes(*start).trailing_zeros() as usize;
        if at < VECTOR_BYTES && !ends_escaped(text.get(..at).unwrap_or_default(), escaped) {
            return Some(at);
        }
    }
    closing_quote_of_long(text, escaped)
}

/// Apart from the short case, so that the engine keeps this loop in registers.
#[inline(never)]
fn closing_quote_of_long(text: &[u8], escaped: bool) -> Option<usize> {
    let closes = |at: &usize| !ends_escaped(text.get(..*at).unwrap_or_default(), escaped);
    let (vectors, _) = text.as_chunks();
    let (blocks, _) = vectors.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        let mut quotes = vector::quotes_of_block(block);
        while quotes != 0 {
            let at = index * BLOCK_BYTES + quotes.trailing_zeros() as usize;
            if closes(&at) {
                return Some(at);
            }
            // Clears the lowest bit, which is that of the quote at hand.
            quotes &= quotes - 1;
        }
    }
    let tail = blocks.len() * BLOCK_BYTES..text.len();
    tail.filter(|at| text.get(*at) == Some(&b'"')).find(closes)
}

/// Whether the byte after `text` is escaped; `escaped` is the same question for its first byte.
pub(super) fn ends_escaped(text: &[u8], escaped: bool) -> bool {
    let run = text.iter().rev().take_while(|byte| **byte == b'\\').count();
    (run % 2 == 1) ^ (escaped && run == text.len())
}

/// With vector instructions, which the shipped filter is built with.
#[cfg(target_feature = "simd128")]
mod vector {
    use core::arch::wasm32::{
        u8x16, u8x16_bitmask, u8x16_eq, u8x16_splat, v128, v128_any_true, v128_or,
    };

    use super::{Block, Vector};

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes(bytes: Vector) -> u16 {
        u8x16_bitmask(equal(bytes))
    }

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes_of_block(block: &Block) -> u64 {
        let [a, b, c, d] = block.map(equal);
        if !v128_any_true(v128_or(v128_or(a, b), v128_or(c, d))) {
            return 0;
        }
        let [a, b, c, d] = [a, b, c, d].map(|equal| u64::from(u8x16_bitmask(equal)));
        a | b << 16 | c << 32 | d << 48
    }

    fn equal(bytes: Vector) -> v128 {
        // The compiler makes one load of it.
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let bytes = u8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
        u8x16_eq(bytes, u8x16_splat(b'"'))
    }
}

/// Without them: native tests, and builds for engines that lack them.
#[cfg(not(target_feature = "simd128"))]
mod vector {
    use super::{Block, Vector};

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes(bytes: Vector) -> u16 {
        let bit = |bits, byte| bits << 1 | u16::from(byte == b'"');
        bytes.into_iter().rev().fold(0, bit)
    }

    /// Bit i is set when byte i is a quote.
    pub(super) fn quotes_of_block(block: &Block) -> u64 {
        let bits = |bits, vector: &Vector| bits << 16 | u64::from(quotes(*vector));
        block.iter().rev().fold(0, bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What RFC 8259 says, one byte after the other; also whether the byte after the text is escaped.
    fn by_the_book(text: &[u8], escaped: bool) -> (Option<usize>, bool) {
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
        fn the_end_is_where_the_book_says(
            text in "[a\u{e9}]{0,140}[a\"\\\\]{0,80}[a\u{e9}]{0,140}[a\"\\\\]{0,8}",
            escaped: bool,
        ) {
            let text = text.as_bytes();
            let (end, ends) = by_the_book(text, escaped);
            prop_assert_eq!(closing_quote(text, escaped), end);
            if end.is_none() {
                prop_assert_eq!(ends_escaped(text, escaped), ends);
            }
        }
    }

    #[test]
    fn a_quote_is_found_wherever_it_stands() {
        for len in 0..200 {
            for at in 0..len {
                let mut text = vec![b'a'; len];
                text[at] = b'"';
                assert_eq!(closing_quote(&text, false), Some(at), "{at} of {len}");
            }
        }
    }
}
