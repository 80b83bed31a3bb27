//! LMDB, TDB and GDBM through their own libraries.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};

use super::library::Library;
use crate::file::File;

/// A database that is opened and asked.
pub trait Store {
    /// Opens the file, as after the power cut. An error: the library refuses it.
    fn open(&mut self, file: &File) -> Result<(), String>;
    /// What a key has.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;
    /// How many entries there are, where it can tell.
    fn count(&mut self) -> Result<Option<u64>, String>;
    /// Closes it, if it is open.
    fn close(&mut self);
}

/// Declares functions of a library: a struct with a pointer to each, filled by `load`.
macro_rules! functions {
    ($name:ident of $library:literal { $($function:ident: fn($($argument:ty),*) $(-> $result:ty)?;)* }) => {
        struct $name { $($function: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl $name {
            fn load() -> Result<Self, String> {
                let library = Library::open($library)?;
                Ok(Self { $($function: {
                    let address = library.symbol(stringify!($function))?;
                    // SAFETY: the library declares a function of this name with these types, in C.
                    unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address)
                    }
                },)* })
            }
        }
    };
}

/// Copies bytes that a library has given.
///
/// # Safety
///
/// There are so many at that address, or it is null.
unsafe fn copied(address: *const c_void, length: usize) -> Option<Vec<u8>> {
    // SAFETY: the caller's word.
    (!address.is_null())
        .then(|| unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) }.to_vec())
}

/// A copy of the file, for libraries that repair what they open.
struct Copy(OwnedFd);

impl Copy {
    fn new() -> Result<Self, String> {
        let memory = memfd_create("powercut-copy", MemfdFlags::CLOEXEC);
        memory.map(Self).map_err(|error| error.to_string())
    }

    fn fill(&self, file: &File) -> Result<CString, String> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        std::fs::write(&path, file.content()).map_err(|error| error.to_string())?;
        CString::new(path).map_err(|error| error.to_string())
    }
}

// ---- LMDB ----

#[repr(C)]
struct MdbVal {
    length: usize,
    bytes: *mut c_void,
}

/// The first of MDB_stat's fields, and the rest.
#[repr(C)]
struct MdbStat {
    page_size: c_uint,
    depth: c_uint,
    branch_pages: usize,
    leaf_pages: usize,
    overflow_pages: usize,
    entries: usize,
}

functions!(LmdbFunctions of "liblmdb.so.0" {
    mdb_env_create: fn(*mut *mut c_void) -> c_int;
    mdb_env_set_mapsize: fn(*mut c_void, usize) -> c_int;
    mdb_env_open: fn(*mut c_void, *const c_char, c_uint, libc::mode_t) -> c_int;
    mdb_env_close: fn(*mut c_void);
    mdb_txn_begin: fn(*mut c_void, *mut c_void, c_uint, *mut *mut c_void) -> c_int;
    mdb_txn_abort: fn(*mut c_void);
    mdb_dbi_open: fn(*mut c_void, *const c_char, c_uint, *mut c_uint) -> c_int;
    mdb_get: fn(*mut c_void, c_uint, *mut MdbVal, *mut MdbVal) -> c_int;
    mdb_stat: fn(*mut c_void, c_uint, *mut MdbStat) -> c_int;
});

const MDB_NOSUBDIR: c_uint = 0x4000;
const MDB_RDONLY: c_uint = 0x20000;
const MDB_NOLOCK: c_uint = 0x40_0000;
const MDB_NOTFOUND: c_int = -30798;

/// LMDB.
pub struct Lmdb {
    functions: LmdbFunctions,
    environment: *mut c_void,
    transaction: *mut c_void,
    database: c_uint,
}

impl Lmdb {
    /// Loads the library.
    pub fn new() -> Result<Self, String> {
        Ok(Self {
            functions: LmdbFunctions::load()?,
            environment: std::ptr::null_mut(),
            transaction: std::ptr::null_mut(),
            database: 0,
        })
    }
}

fn lmdb(code: c_int) -> Result<(), String> {
    match code {
        0 => Ok(()),
        _ => Err(format!("LMDB says {code}")),
    }
}

impl Store for Lmdb {
    fn open(&mut self, file: &File) -> Result<(), String> {
        let path = CString::new(file.path()).map_err(|error| error.to_string())?;
        let functions = &self.functions;
        // SAFETY: as the manual has it: an environment is created, opened once, and closed by `close`; what
        // is given lives as long as each call. The file is only read.
        unsafe {
            lmdb((functions.mdb_env_create)(&mut self.environment))?;
            lmdb((functions.mdb_env_set_mapsize)(
                self.environment,
                file.size(),
            ))?;
            let flags = MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK;
            lmdb((functions.mdb_env_open)(
                self.environment,
                path.as_ptr(),
                flags,
                0o644,
            ))?;
            lmdb((functions.mdb_txn_begin)(
                self.environment,
                std::ptr::null_mut(),
                MDB_RDONLY,
                &mut self.transaction,
            ))?;
            lmdb((functions.mdb_dbi_open)(
                self.transaction,
                std::ptr::null(),
                0,
                &mut self.database,
            ))
        }
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut name = MdbVal {
            length: key.len(),
            bytes: key.as_ptr().cast_mut().cast(),
        };
        let mut value = MdbVal {
            length: 0,
            bytes: std::ptr::null_mut(),
        };
        // SAFETY: the transaction is open; LMDB does not write to the key.
        let code = unsafe {
            (self.functions.mdb_get)(self.transaction, self.database, &mut name, &mut value)
        };
        if code == MDB_NOTFOUND {
            return Ok(None);
        }
        lmdb(code)?;
        // SAFETY: LMDB points into its map, which is that long.
        Ok(unsafe { copied(value.bytes, value.length) })
    }

    fn count(&mut self) -> Result<Option<u64>, String> {
        let mut stat = MdbStat {
            page_size: 0,
            depth: 0,
            branch_pages: 0,
            leaf_pages: 0,
            overflow_pages: 0,
            entries: 0,
        };
        // SAFETY: the transaction is open, and the struct is LMDB's MDB_stat.
        lmdb(unsafe { (self.functions.mdb_stat)(self.transaction, self.database, &mut stat) })?;
        Ok(Some(stat.entries as u64))
    }

    fn close(&mut self) {
        // SAFETY: each is ended once, the transaction first.
        unsafe {
            if !self.transaction.is_null() {
                (self.functions.mdb_txn_abort)(self.transaction);
            }
            if !self.environment.is_null() {
                (self.functions.mdb_env_close)(self.environment);
            }
        }
        self.transaction = std::ptr::null_mut();
        self.environment = std::ptr::null_mut();
    }
}

// ---- TDB ----

#[repr(C)]
#[derive(Clone, Copy)]
struct TdbData {
    bytes: *mut u8,
    length: usize,
}

functions!(TdbFunctions of "libtdb.so.1" {
    tdb_open: fn(*const c_char, c_int, c_int, c_int, libc::mode_t) -> *mut c_void;
    tdb_fetch: fn(*mut c_void, TdbData) -> TdbData;
    tdb_check: fn(*mut c_void, *mut c_void, *mut c_void) -> c_int;
    tdb_close: fn(*mut c_void) -> c_int;
});

const TDB_NOSYNC: c_int = 64;

/// TDB.
pub struct Tdb {
    functions: TdbFunctions,
    copy: Copy,
    opened: *mut c_void,
}

impl Tdb {
    /// Loads the library.
    pub fn new() -> Result<Self, String> {
        Ok(Self {
            functions: TdbFunctions::load()?,
            copy: Copy::new()?,
            opened: std::ptr::null_mut(),
        })
    }
}

impl Store for Tdb {
    fn open(&mut self, file: &File) -> Result<(), String> {
        let path = self.copy.fill(file)?;
        // SAFETY: a name that ends in a zero; `close` closes what is opened.
        self.opened =
            unsafe { (self.functions.tdb_open)(path.as_ptr(), 0, TDB_NOSYNC, libc::O_RDWR, 0o600) };
        if self.opened.is_null() {
            return Err(format!(
                "TDB cannot open it: {}",
                std::io::Error::last_os_error()
            ));
        }
        // SAFETY: it is open; without a function of one's own the records are not looked at.
        let checked = unsafe {
            (self.functions.tdb_check)(self.opened, std::ptr::null_mut(), std::ptr::null_mut())
        };
        if checked != 0 {
            return Err("TDB's own check fails".to_owned());
        }
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let name = TdbData {
            bytes: key.as_ptr().cast_mut(),
            length: key.len(),
        };
        // SAFETY: it is open, and TDB does not write to the key. What it returns is ours to free.
        unsafe {
            let found = (self.functions.tdb_fetch)(self.opened, name);
            let value = copied(found.bytes.cast(), found.length);
            libc::free(found.bytes.cast());
            Ok(value)
        }
    }

    fn count(&mut self) -> Result<Option<u64>, String> {
        Ok(None)
    }

    fn close(&mut self) {
        if !self.opened.is_null() {
            // SAFETY: it is open, and not used any more.
            unsafe { (self.functions.tdb_close)(self.opened) };
        }
        self.opened = std::ptr::null_mut();
    }
}

// ---- GDBM ----

#[repr(C)]
#[derive(Clone, Copy)]
struct Datum {
    bytes: *mut c_char,
    length: c_int,
}

functions!(GdbmFunctions of "libgdbm.so.6" {
    gdbm_open: fn(*const c_char, c_int, c_int, c_int, *const c_void) -> *mut c_void;
    gdbm_fetch: fn(*mut c_void, Datum) -> Datum;
    gdbm_count: fn(*mut c_void, *mut u64) -> c_int;
    gdbm_close: fn(*mut c_void) -> c_int;
});

const GDBM_READER: c_int = 0;
const GDBM_NOLOCK: c_int = 0x40;

/// GDBM.
pub struct Gdbm {
    functions: GdbmFunctions,
    copy: Copy,
    opened: *mut c_void,
}

impl Gdbm {
    /// Loads the library.
    pub fn new() -> Result<Self, String> {
        Ok(Self {
            functions: GdbmFunctions::load()?,
            copy: Copy::new()?,
            opened: std::ptr::null_mut(),
        })
    }
}

impl Store for Gdbm {
    fn open(&mut self, file: &File) -> Result<(), String> {
        let path = self.copy.fill(file)?;
        // SAFETY: a name that ends in a zero, and no handler of fatal errors.
        self.opened = unsafe {
            (self.functions.gdbm_open)(
                path.as_ptr(),
                0,
                GDBM_READER | GDBM_NOLOCK,
                0o600,
                std::ptr::null(),
            )
        };
        if self.opened.is_null() {
            return Err("GDBM cannot open it".to_owned());
        }
        Ok(())
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let name = Datum {
            bytes: key.as_ptr().cast_mut().cast(),
            length: key.len() as c_int,
        };
        // SAFETY: it is open, and GDBM does not write to the key. What it returns is ours to free.
        unsafe {
            let found = (self.functions.gdbm_fetch)(self.opened, name);
            let value = copied(found.bytes.cast(), found.length.max(0) as usize);
            libc::free(found.bytes.cast());
            Ok(value)
        }
    }

    fn count(&mut self) -> Result<Option<u64>, String> {
        let mut count = 0;
        // SAFETY: it is open.
        match unsafe { (self.functions.gdbm_count)(self.opened, &mut count) } {
            0 => Ok(Some(count)),
            _ => Err("GDBM cannot count".to_owned()),
        }
    }

    fn close(&mut self) {
        if !self.opened.is_null() {
            // SAFETY: it is open, and not used any more.
            unsafe { (self.functions.gdbm_close)(self.opened) };
        }
        self.opened = std::ptr::null_mut();
    }
}
