//! Holds: names that scripts wait for until a test releases them.
//! A name stays released, so that the order of hold and release does not matter.

use std::collections::HashSet;

use tokio::sync::watch;

/// The released names, shared by all clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    released: watch::Sender<HashSet<String>>,
}

impl Holds {
    /// Releases all present and future holds of `name`.
    pub(crate) fn release(&self, name: &str) {
        self.released
            .send_if_modified(|released| released.insert(name.to_owned()));
    }

    /// Waits until `name` is released.
    pub(crate) async fn wait_for_release(&self, name: &str) {
        self.released
            .subscribe()
            .wait_for(|released| released.contains(name))
            .await
            .expect("`self` holds the sender");
    }

    /// Deletes all releases.
    pub(crate) fn clear(&self) {
        self.released.send_modify(HashSet::clear);
    }
}
