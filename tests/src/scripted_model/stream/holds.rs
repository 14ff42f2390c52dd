//! Holds: names that scripts wait for until somebody releases them.
//! A name stays released, so that it does not matter who comes first.

use std::collections::HashSet;

use tokio::sync::watch;

/// The names that have been released; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    released: watch::Sender<HashSet<String>>,
}

impl Holds {
    /// Lets everybody go on who waits, or will wait, for the name.
    pub(crate) fn release(&self, name: &str) {
        self.released
            .send_if_modified(|released| released.insert(name.to_owned()));
    }

    /// Waits until the name is released.
    pub(crate) async fn released(&self, name: &str) {
        self.released
            .subscribe()
            .wait_for(|released| released.contains(name))
            .await
            .expect("`self` holds the sender");
    }

    /// Forgets all releases.
    pub(crate) fn clear(&self) {
        self.released.send_modify(HashSet::clear);
    }
}
