//! What scripts/powercut.d/workloads/database.c has committed: all of it is there, in the eyes of the database's own
//! library, and of the transaction under way all or nothing.

use super::stores::{Gdbm, Lmdb, Store, Tdb};
use super::{Checker, Loss, word};
use crate::file::File;
use crate::trace::Cause;

const KEYS: usize = 400;
const MOST_CHANGES: u64 = 8;

fn mixed(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A key, and whether the transaction deletes it.
fn changes(number: u64, same_size: bool) -> Vec<(usize, bool)> {
    let mut state = mixed(number.wrapping_mul(77_773).wrapping_add(5));
    (0..1 + state % MOST_CHANGES)
        .map(|_| {
            state = mixed(state.wrapping_add(1));
            let is_deleted = !same_size && (state >> 32).is_multiple_of(10);
            ((state % KEYS as u64) as usize, is_deleted)
        })
        .collect()
}

fn value(number: u64, key: usize, same_size: bool) -> Vec<u8> {
    let mut state = mixed(number.wrapping_mul(31).wrapping_add(key as u64));
    let length = if same_size {
        600
    } else {
        24 + (state % 600) as usize
    };
    let mut value = number.to_le_bytes().to_vec();
    value.extend_from_slice(&(key as u32).to_le_bytes());
    for i in 12..length {
        if i % 8 == 4 {
            state = mixed(state);
        }
        value.push((state >> (i % 8 * 8)) as u8);
    }
    value
}

/// Which transaction gave each key its value.
type Keys = Vec<Option<u64>>;

fn apply(keys: &mut Keys, number: u64, same_size: bool) {
    for (key, is_deleted) in changes(number, same_size) {
        keys[key] = (!is_deleted).then_some(number);
    }
}

/// A database.
pub struct Database {
    store: Box<dyn Store>,
    /// All values have one size, and none is deleted.
    same_size: bool,
    /// It survives a power cut only between transactions.
    only_at_rest: bool,
    acknowledged: u64,
    keys: Keys,
}

impl Database {
    /// By its name.
    pub fn new(name: &str) -> Result<Self, String> {
        let is_gdbm = name == "gdbm";
        let store: Box<dyn Store> = match name {
            "lmdb" => Box::new(Lmdb::new()?),
            "tdb" => Box::new(Tdb::new()?),
            _ => Box::new(Gdbm::new()?),
        };
        Ok(Self {
            store,
            same_size: is_gdbm,
            only_at_rest: is_gdbm,
            acknowledged: 0,
            keys: vec![is_gdbm.then_some(0); KEYS],
        })
    }

    /// What is wrong with what the store holds.
    fn compare(&mut self) -> Result<(), String> {
        let last = self
            .store
            .get(b"last")?
            .ok_or("it has no last transaction")?;
        let last = word(&last, 0);
        if last != self.acknowledged && last != self.acknowledged + 1 {
            return Err(format!(
                "the last transaction there is {last}, and {} is acknowledged",
                self.acknowledged
            ));
        }
        let mut keys = self.keys.clone();
        if last > self.acknowledged {
            apply(&mut keys, last, self.same_size);
        }
        for (key, number) in keys.iter().enumerate() {
            let wanted = number.map(|number| value(number, key, self.same_size));
            if self.store.get(format!("key{key:05}").as_bytes())? != wanted {
                return Err(format!(
                    "key {key} is not as transaction {number:?} left it (the last there is {last}, {} acknowledged)",
                    self.acknowledged
                ));
            }
        }
        let count = 1 + keys.iter().flatten().count() as u64;
        match self.store.count()? {
            Some(there) if there != count => Err(format!("it has {there} entries, not {count}")),
            _ => Ok(()),
        }
    }
}

impl Checker for Database {
    fn changed(&mut self, _: &File, _: u64) {}

    fn acknowledged(&mut self, _: &File, _: u32, number: u64) -> Result<(), String> {
        if number != self.acknowledged + 1 {
            return Err(format!(
                "{number} is acknowledged behind {}",
                self.acknowledged
            ));
        }
        self.acknowledged = number;
        apply(&mut self.keys, number, self.same_size);
        Ok(())
    }

    fn lines_of(&self, _: u32, _: u64) -> Vec<u64> {
        Vec::new()
    }

    fn is_checked(&self, cause: Cause, image: u64) -> bool {
        !self.only_at_rest || (cause == Cause::Ack && image == 0)
    }

    fn check(&mut self, file: &File) -> Result<(), Loss> {
        let result = self.store.open(file).and_then(|()| self.compare());
        self.store.close();
        result.map_err(|what| Loss {
            what,
            lines: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Layout;
    use std::collections::BTreeMap;

    /// A store that holds what it is told to.
    #[derive(Default)]
    struct Told(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Store for Told {
        fn open(&mut self, _: &File) -> Result<(), String> {
            Ok(())
        }
        fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.get(key).cloned())
        }
        fn count(&mut self) -> Result<Option<u64>, String> {
            Ok(Some(self.0.len() as u64))
        }
        fn close(&mut self) {}
    }

    fn told(up_to: u64) -> Told {
        let mut told = Told::default();
        let mut keys = vec![None; KEYS];
        for number in 1..=up_to {
            apply(&mut keys, number, false);
        }
        for (key, number) in keys.iter().enumerate() {
            if let Some(number) = number {
                let name = format!("key{key:05}").into_bytes();
                told.0.insert(name, value(*number, key, false));
            }
        }
        told.0
            .insert(b"last".to_vec(), up_to.to_le_bytes().to_vec());
        told
    }

    fn verdict(acknowledged: u64, store: Told) -> Result<(), Loss> {
        let mut layout = Layout::default();
        layout.add(1, 0, 0);
        let file = File::new(layout).expect("a file");
        let mut database = Database {
            store: Box::new(store),
            same_size: false,
            only_at_rest: false,
            acknowledged: 0,
            keys: vec![None; KEYS],
        };
        for number in 1..=acknowledged {
            database.acknowledged(&file, 0, number).expect("the next");
        }
        database.check(&file)
    }

    #[test]
    fn what_is_acknowledged_or_one_more() {
        assert_eq!(verdict(20, told(20)), Ok(()));
        assert_eq!(verdict(20, told(21)), Ok(()));
        assert!(verdict(20, told(19)).is_err());
        assert!(verdict(20, told(22)).is_err());
    }

    #[test]
    fn half_a_transaction_is_none() {
        let mut half = told(20);
        half.0
            .insert(b"last".to_vec(), 21u64.to_le_bytes().to_vec());
        assert!(verdict(20, half).is_err());
        let mut without = told(20);
        let first = without.0.keys().next().expect("a key").clone();
        without.0.remove(&first);
        assert!(verdict(20, without).is_err());
        let mut more = told(20);
        more.0.insert(b"other".to_vec(), Vec::new());
        assert!(verdict(20, more).is_err());
    }
}
