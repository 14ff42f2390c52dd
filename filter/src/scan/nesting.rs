//! The stack of open containers, in a fixed number of bits.
//! The depth limit is that of serde_json, which rejects deeper documents.

/// The most containers open at once: serde_json counts down from 128 and rejects at zero.
const MAX_DEPTH: u8 = 127;

/// A JSON container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

/// A stack of containers.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// A bit for each container, set for an object; the innermost is the lowest bit.
    objects: u128,
    depth: u8,
}

impl Nesting {
    /// Opens a container; returns false at the depth limit.
    #[must_use]
    pub(super) fn open(&mut self, container: Container) -> bool {
        let fits = self.depth < MAX_DEPTH;
        if fits {
            self.objects = self.objects << 1 | u128::from(container == Container::Object);
            self.depth += 1;
        }
        fits
    }

    /// Closes the innermost container; returns false if it is of the other kind.
    #[must_use]
    pub(super) fn close(&mut self, container: Container) -> bool {
        let matches = self.innermost() == Some(container);
        if matches {
            self.objects >>= 1;
            self.depth -= 1;
        }
        matches
    }

    /// Returns the innermost open container.
    pub(super) fn innermost(&self) -> Option<Container> {
        match (self.depth, self.objects & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Array),
            _ => Some(Container::Object),
        }
    }

    /// Returns the number of open containers.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }
}
