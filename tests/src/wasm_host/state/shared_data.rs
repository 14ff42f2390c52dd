//! Shared data: one map for all workers, written with compare-and-swap.
//! Follows the proxy-wasm ABI 0.2.1, section "Shared Key-Value Store", and Envoy 1.40.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wasm_host::abi::Status;

/// The data of all VMs with one `vm_id`; a key cannot be removed.
#[derive(Debug, Default)]
pub struct SharedData(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_cas: u32,
    races_to_lose: u32,
}

impl SharedData {
    /// Returns a value and the `cas` for a conditional write.
    pub fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.table().entries.get(key).cloned()
    }

    /// Writes a value. `cas` 0 writes unconditionally, and so does any `cas` while the key is absent.
    ///
    /// # Errors
    /// [`Status::CasMismatch`] if the key was written since `cas` was read.
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

    /// Makes the next `races` conditional writes fail, as if another worker had written the same value first.
    pub fn lose_next_races(&self, races: u32) {
        self.table().races_to_lose = races;
    }

    /// Returns the keys.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.table().entries.keys().cloned().collect()
    }

    /// Returns the bytes of all keys and values.
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
    fn write_with_a_stale_cas_fails_and_changes_nothing() {
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
    fn lost_race_fails_one_write() {
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
