//! bpf(2): the commands that a guard needs, each with its errno.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// Plain structs that go to the kernel as their bytes.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub unsafe trait Plain: Copy + Default {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

/// The licence that the programs state. The kernel wants one compatible with the GPL of programs
/// that read its memory (include/linux/license.h).
pub const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// Whether the caller has CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which includes both.
#[must_use]
pub fn is_capable() -> bool {
    let effective =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    effective.contains(CapabilitySet::SYS_ADMIN)
        || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
}

/// Commands (`enum bpf_cmd`).
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    Pin = 6,
    Get = 7,
    TestRun = 10,
    RawTracepointOpen = 17,
}

/// Kinds of maps (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_LRU_HASH`: what was not used for the longest time makes room.
    LruHash = 9,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `BPF_PROG_TYPE_LSM`, `BPF_LSM_MAC`
    Lsm,
    /// `BPF_PROG_TYPE_TRACING`, `BPF_MODIFY_RETURN`
    ModifyReturn,
}

impl Attach {
    /// `enum bpf_prog_type`, `enum bpf_attach_type`
    const fn numbers(self) -> (u32, u32) {
        match self {
            Attach::Lsm => (29, 27),
            Attach::ModifyReturn => (26, 26),
        }
    }
}

/// The beginnings of `union bpf_attr` that are used here; what a kernel does not know must be 0.
#[derive(Default)]
#[repr(C)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
    interface: u32,
}

#[derive(Default)]
#[repr(C, align(8))]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    /// The value, or the next key.
    value: u64,
    flags: u64,
}

#[derive(Default)]
#[repr(C, align(8))]
struct ProgramAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach: u32,
    btf: u32,
    function_record_size: u32,
    functions: u64,
    function_count: u32,
    line_record_size: u32,
    lines: u64,
    line_count: u32,
    attach_to: u32,
    attach_program: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C, align(8))]
struct PathAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[derive(Default)]
#[repr(C, align(8))]
struct TracepointAttributes {
    name: u64,
    program: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C, align(8))]
struct RunAttributes {
    program: u32,
    value: u32,
    data: [u32; 2],
    places: [u64; 2],
    repeat: u32,
    duration: u32,
    context: [u32; 2],
    context_places: [u64; 2],
    flags: u32,
    cpu: u32,
}

/// Makes the system call.
///
/// # Safety
/// `attributes` are those of the command, and its pointers point to what the command reads or writes.
unsafe fn call<T>(command: Command, attributes: &mut T) -> Result<i32, Errno> {
    // SAFETY: the caller's duty; the size is that of what is passed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as i32,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if answer < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    i32::try_from(answer).map_err(|_| Errno::IO)
}

/// As [`call`], for commands that return a descriptor. They are all close-on-exec.
///
/// # Safety
/// As [`call`].
unsafe fn call_for_descriptor<T>(command: Command, attributes: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's duty.
    let descriptor = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn name_of(name: &str) -> [u8; 16] {
    let mut room = [0; 16];
    // The last stays 0.
    for (to, from) in room.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    room
}

/// `BPF_MAP_CREATE`
///
/// # Errors
/// EPERM without CAP_BPF; ENOMEM, E2BIG.
pub fn create_map(
    name: &str,
    kind: MapKind,
    key: usize,
    value: usize,
    entries: u32,
) -> Result<OwnedFd, Errno> {
    let size = |bytes: usize| u32::try_from(bytes).map_err(|_| Errno::INVAL);
    let mut attributes = MapAttributes {
        kind: kind as u32,
        key_size: size(key)?,
        value_size: size(value)?,
        max_entries: entries,
        name: name_of(name),
        ..MapAttributes::default()
    };
    // SAFETY: no pointers.
    unsafe { call_for_descriptor(Command::MapCreate, &mut attributes) }
}

fn element<K, V>(map: &impl AsFd, key: Option<&K>, value: *mut V) -> ElementAttributes {
    ElementAttributes {
        map: map.as_fd().as_raw_fd().cast_unsigned(),
        key: key.map_or(0, |key| std::ptr::from_ref(key).addr() as u64),
        value: value.addr() as u64,
        ..ElementAttributes::default()
    }
}

/// `BPF_MAP_LOOKUP_ELEM`. The types must have the sizes that the map was made with.
///
/// # Errors
/// The errors of bpf(2), but for ENOENT.
pub fn look_up<K: Plain, V: Plain>(map: &impl AsFd, key: &K) -> Result<Option<V>, Errno> {
    let mut value = V::default();
    let mut attributes = element(map, Some(key), &raw mut value);
    // SAFETY: a key is read and a value written, each of the map's size; any bytes are a value.
    match unsafe { call(Command::MapLookup, &mut attributes) } {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `BPF_MAP_UPDATE_ELEM`
///
/// # Errors
/// E2BIG when the map is full.
pub fn update<K: Plain, V: Plain>(map: &impl AsFd, key: &K, value: &V) -> Result<(), Errno> {
    let mut attributes = element(map, Some(key), std::ptr::from_ref(value).cast_mut());
    // SAFETY: key and value are read, each of the map's size.
    unsafe { call(Command::MapUpdate, &mut attributes) }.map(drop)
}

/// `BPF_MAP_DELETE_ELEM`; `false`: it was not there.
///
/// # Errors
/// The errors of bpf(2), but for ENOENT.
pub fn delete<K: Plain>(map: &impl AsFd, key: &K) -> Result<bool, Errno> {
    let mut attributes = element(map, Some(key), std::ptr::null_mut::<u8>());
    // SAFETY: a key of the map's size is read.
    match unsafe { call(Command::MapDelete, &mut attributes) } {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// `BPF_MAP_GET_NEXT_KEY`: the first one behind none, and none behind the last.
///
/// # Errors
/// The errors of bpf(2), but for ENOENT.
pub fn next_key<K: Plain>(map: &impl AsFd, after: Option<&K>) -> Result<Option<K>, Errno> {
    let mut next = K::default();
    let mut attributes = element(map, after, &raw mut next);
    // SAFETY: a key of the map's size is read and one written; any bytes are a key.
    match unsafe { call(Command::MapNextKey, &mut attributes) } {
        Ok(_) => Ok(Some(next)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `BPF_PROG_LOAD`: a program for the kernel's function with the number `function`. The kernel proves
/// it harmless, or says in words what is wrong. One that `sleeps` may wait for memory.
///
/// # Errors
/// The errno, and the end of what the kernel said.
pub fn load(
    name: &str,
    attach: Attach,
    function: u32,
    sleeps: bool,
    code: &[u64],
) -> Result<OwnedFd, (Errno, String)> {
    /// `BPF_F_SLEEPABLE`
    const SLEEPABLE: u32 = 1 << 4;
    let (kind, expected_attach) = attach.numbers();
    prove(
        code,
        ProgramAttributes {
            kind,
            flags: if sleeps { SLEEPABLE } else { 0 },
            name: name_of(name),
            expected_attach,
            attach_to: function,
            ..ProgramAttributes::default()
        },
    )
}

/// `BPF_PROG_LOAD`: a program for tracepoints, which can refuse nothing.
///
/// # Errors
/// As [`load`].
pub fn load_for_tracepoint(name: &str, code: &[u64]) -> Result<OwnedFd, (Errno, String)> {
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`
    const RAW_TRACEPOINT: u32 = 17;
    prove(
        code,
        ProgramAttributes {
            kind: RAW_TRACEPOINT,
            name: name_of(name),
            ..ProgramAttributes::default()
        },
    )
}

fn prove(code: &[u64], attributes: ProgramAttributes) -> Result<OwnedFd, (Errno, String)> {
    let mut program = ProgramAttributes {
        count: u32::try_from(code.len()).unwrap_or(u32::MAX),
        instructions: code.as_ptr().addr() as u64,
        license: LICENSE.as_ptr().addr() as u64,
        ..attributes
    };
    // SAFETY: as many instructions as counted and a terminated licence are read; no log is asked for.
    let first = unsafe { call_for_descriptor(Command::ProgramLoad, &mut program) };
    let Err(errno) = first else {
        return first.map_err(|errno| (errno, String::new()));
    };
    // Once more, with words.
    let mut log = vec![0_u8; 1 << 20];
    program.log_level = 1;
    program.log_size = 1 << 20;
    program.log = log.as_mut_ptr().addr() as u64;
    // SAFETY: as above, and the log is written within its size.
    let again = unsafe { call_for_descriptor(Command::ProgramLoad, &mut program) };
    again.map_err(|_| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(0);
        let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
        (errno, text)
    })
}

/// `BPF_RAW_TRACEPOINT_OPEN` of a program that knows its function: attached for as long as the
/// descriptor, or a pin of it, is there.
///
/// # Errors
/// The errors of bpf(2).
pub fn attach(program: &impl AsFd) -> Result<OwnedFd, Errno> {
    let mut attributes = TracepointAttributes {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        ..TracepointAttributes::default()
    };
    // SAFETY: no pointers.
    unsafe { call_for_descriptor(Command::RawTracepointOpen, &mut attributes) }
}

/// `BPF_RAW_TRACEPOINT_OPEN` of a program for the tracepoint with this name; attached as above.
///
/// # Errors
/// Those of bpf(2).
pub fn attach_to(program: &impl AsFd, tracepoint: &str) -> Result<OwnedFd, Errno> {
    let name = CString::new(tracepoint).map_err(|_| Errno::INVAL)?;
    let mut attributes = TracepointAttributes {
        name: name.as_ptr().addr() as u64,
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        ..TracepointAttributes::default()
    };
    // SAFETY: a terminated name is read.
    unsafe { call_for_descriptor(Command::RawTracepointOpen, &mut attributes) }
}

/// `BPF_PROG_TEST_RUN`: runs a program for tracepoints once, as this process.
///
/// # Errors
/// Those of bpf(2).
pub fn run(program: &impl AsFd) -> Result<(), Errno> {
    let mut attributes = RunAttributes {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        ..RunAttributes::default()
    };
    // SAFETY: no pointers.
    unsafe { call(Command::TestRun, &mut attributes) }.map(drop)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(OsStr::as_bytes(path.as_os_str())).map_err(|_| Errno::INVAL)
}

/// `BPF_OBJ_PIN`
///
/// # Errors
/// EPERM where the path is not on bpffs, EROFS, EEXIST, ENOENT.
pub fn pin(object: &impl AsFd, path: &Path) -> Result<(), Errno> {
    let path = c_path(path)?;
    let mut attributes = PathAttributes {
        path: path.as_ptr().addr() as u64,
        descriptor: object.as_fd().as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    // SAFETY: a terminated path is read.
    unsafe { call(Command::Pin, &mut attributes) }.map(drop)
}

/// `BPF_OBJ_GET`
///
/// # Errors
/// ENOENT, EACCES.
pub fn get(path: &Path) -> Result<OwnedFd, Errno> {
    let path = c_path(path)?;
    let mut attributes = PathAttributes {
        path: path.as_ptr().addr() as u64,
        ..PathAttributes::default()
    };
    // SAFETY: a terminated path is read.
    unsafe { call_for_descriptor(Command::Get, &mut attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_lie_as_in_the_kernel() {
        assert_eq!(std::mem::offset_of!(MapAttributes, name), 28);
        assert_eq!(std::mem::offset_of!(ProgramAttributes, name), 48);
        assert_eq!(std::mem::offset_of!(ProgramAttributes, expected_attach), 68);
        assert_eq!(std::mem::offset_of!(ProgramAttributes, attach_to), 108);
        assert_eq!(std::mem::offset_of!(ElementAttributes, value), 16);
        assert_eq!(size_of::<ElementAttributes>(), 32);
    }

    #[test]
    fn names_are_cut_and_end() {
        assert_eq!(name_of("abc")[..4], *b"abc\0");
        assert_eq!(name_of("0123456789abcdefgh"), *b"0123456789abcde\0");
    }
}
