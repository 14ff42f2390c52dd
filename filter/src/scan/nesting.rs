//! The containers that are open, innermost first, in a fixed number of bits.
//! The limit is that of serde_json, which refuses a document that nests deeper.

/// A JSON container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

/// A stack of containers: one bit each, set for an object, the innermost lowest.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    objects: u128,
    depth: u8,
}

impl Nesting {
    /// Containers that may be open at once: serde_json starts with 128 and refuses to reach zero.
    pub(super) const MAX_DEPTH: u8 = 127;

    /// Opens a container; false when it would be one too many.
    #[must_use]
    pub(super) fn open(&mut self, container: Container) -> bool {
        let fits = self.depth < Self::MAX_DEPTH;
        if fits {
            self.objects = self.objects << 1 | u128::from(container == Container::Object);
            self.depth += 1;
        }
        fits
    }

    /// Closes the innermost container; false when it is of another kind, or none is open.
    #[must_use]
    pub(super) fn close(&mut self, container: Container) -> bool {
        let matches = self.depth > 0 && self.innermost() == container;
        if matches {
            self.objects >>= 1;
            self.depth -= 1;
        }
        matches
    }

    /// The innermost container, which is only meaningful while one is open.
    pub(super) fn innermost(&self) -> Container {
        if self.objects & 1 == 1 {
            Container::Object
        } else {
            Container::Array
        }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }
}
