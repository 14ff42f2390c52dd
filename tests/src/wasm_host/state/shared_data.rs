//! Shared data: one map for all workers, written with compare-and-swap.
//! Source: proxy-wasm ABI 0.2.1, section "Shared Key-Value Store", as Envoy 1.40 keeps it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wasm_host::abi::Status;

/// What all VMs with one `vm_id` share; a key, once written, stays.
#[derive(Debug, Default)]
pub struct SharedData(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_cas: u32,
    races_to_lose: u32,
}

impl SharedData {
    /// A value and the number that a conditional write must show.
    pub fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.table().entries.get(key).cloned()
    }

    /// Writes; `cas` 0 writes in any case, and so does every `cas` while the key is absent.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] when the key was written since `cas` was read.
    pub fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut table = self.table();
        if cas != 0 && table.races_to_lose > 0 {
            table.races_to_lose -= 1;
            table.rewrite(key);
        }
        match table.entries.get(key) {
            Some((_, current)) if cas != 0 && cas != *current => Err(Status::CasMismatch),
            Some(_) | None => {
                table.write(key, value.to_vec());
                Ok(())
            }
        }
    }

    /// Lets another worker win the next `races` conditional writes: it writes the same value first.
    pub fn lose_next_races(&self, races: u32) {
        self.table().races_to_lose = races;
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.table().entries.keys().cloned().collect()
    }

    /// The bytes of all keys and values.
    pub fn size_bytes(&self) -> usize {
        let table = self.table();
        let entries = table.entries.iter();
        entries
            .map(|(key, (value, _))| key.len() + value.len())
            .sum()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn write(&mut self, key: &[u8], value: Vec<u8>) {
        self.last_cas += 1;
        self.entries.insert(key.to_vec(), (value, self.last_cas));
    }

    fn rewrite(&mut self, key: &[u8]) {
        if let Some((value, _)) = self.entries.get(key).cloned() {
            self.write(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_write_is_refused_and_changes_nothing() {
        let data = SharedData::default();
        assert_eq!(
            data.set(b"k", b"1", 77),
            Ok(()),
            "an absent key takes any cas"
        );
        let (_, stale) = data.get(b"k").unwrap();
        assert_eq!(data.set(b"k", b"2", 0), Ok(()), "0 writes in any case");
        assert_eq!(data.set(b"k", b"3", stale), Err(Status::CasMismatch));
        let (value, fresh) = data.get(b"k").unwrap();
        assert_eq!(value, b"2");
        assert_eq!(data.set(b"k", b"3", fresh), Ok(()));
    }

    #[test]
    fn a_lost_race_is_lost_once() {
        let data = SharedData::default();
        data.set(b"k", b"1", 0).unwrap();
        data.lose_next_races(1);
        let (_, cas) = data.get(b"k").unwrap();
        assert_eq!(data.set(b"k", b"2", cas), Err(Status::CasMismatch));
        let (value, cas) = data.get(b"k").unwrap();
        assert_eq!(
            (value.as_slice(), data.set(b"k", b"2", cas)),
            (&b"1"[..], Ok(()))
        );
    }
}
