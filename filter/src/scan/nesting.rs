//! The containers that are open, in a fixed number of bits.
//! The limit is that of serde_json, which refuses a document that nests deeper.

/// Containers that may be open at once: serde_json counts down from 128 and refuses to reach zero.
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
    /// One bit each, set for an object; the innermost is the lowest.
    objects: u128,
    depth: u8,
}

impl Nesting {
    /// Opens a container; false when it would be one too many.
    #[must_use]
    pub(super) fn open(&mut self, container: Container) -> bool {
        let fits = self.depth < MAX_DEPTH;
        if fits {
            self.objects = self.objects << 1 | u128::from(container == Container::Object);
            self.depth += 1;
        }
        fits
    }

    /// Closes the innermost container; false when it is of another kind.
    #[must_use]
    pub(super) fn close(&mut self, container: Container) -> bool {
        let matches = self.innermost() == Some(container);
        if matches {
            self.objects >>= 1;
            self.depth -= 1;
        }
        matches
    }

    /// The innermost container, if one is open.
    pub(super) fn innermost(&self) -> Option<Container> {
        match (self.depth, self.objects & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Array),
            _ => Some(Container::Object),
        }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }
}
