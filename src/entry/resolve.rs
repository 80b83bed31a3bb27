//! Which functions we stand in front of: the next definition of each symbol.

use crate::entry::slot::Slot;
use crate::ground::real::{errno, set_errno};
use core::ffi::c_int;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Finds the next definition of each symbol. Called once, by the constructor: lookups take the
/// loader's lock, which no hook may.
///
/// Under a filter, `is_filtered`, no name is asked for that may be nobody's, as dlsym(3) then allocates for
/// its message, and malloc may ask for random bytes: other libraries' functions are found when called.
pub fn resolve(symbols: &[&'static Slot], is_filtered: bool) {
    let mut absent = "";
    for slot in symbols {
        let is_of_libc = !slot.is_elsewhere() && slot.name != "io_submit\0";
        // Of a library that is not there, one name is asked for.
        if slot.family == absent || is_filtered && !is_of_libc {
            continue;
        }
        match next(slot.name) {
            Some(real) => slot.real.store(real, Ordering::Release),
            None if slot.is_elsewhere() => absent = slot.family,
            None => {}
        }
    }
    if absent != "pmem2" && !is_filtered {
        resolve_granularity();
    }
    if let Some(real) = next("pthread_testcancel\0") {
        TESTCANCEL.store(real, Ordering::Release);
    }
}

/// The next definition of `name` (with its NUL) behind ours. A libc without it leaves the slot at
/// the raw system call.
fn next(name: &'static str) -> Option<*mut ()> {
    // redhook panics where the symbol is missing, which would end the program: ask first.
    // SAFETY: `name` ends in NUL, as every caller writes it.
    unsafe {
        let found = libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast());
        (!found.is_null()).then(|| redhook::ld_preload::dlsym_next(name).cast_mut().cast())
    }
}

/// Where a function is that the constructor did not find: as the program would find it without us, or in
/// its library itself if that was loaded for somebody's private use. Once for each function, by its first
/// call: of another library than libc, loaded later; of libc, by what runs before the constructor (an
/// object that is initialised before us), where no hook can be the one that waits for the loader.
///
/// If it is nowhere, of libc it answers ENOSYS; of others it is null, as what has no definition is.
#[cold]
pub extern "C" fn resolve_late(slot: &'static Slot) -> *mut () {
    let errno = errno();
    let real = Some(slot.name)
        .filter(|name| !name.is_empty())
        .and_then(|name| next(name).or_else(|| in_library(name, slot.family)))
        .unwrap_or(core::ptr::null_mut());
    if !real.is_null() {
        slot.real.store(real, Ordering::Release);
    }
    let real = match slot.is_elsewhere() {
        true if !real.is_null() => {
            resolve_granularity();
            real
        }
        false if real.is_null() => missing as *mut (),
        _ => real,
    };
    set_errno(errno);
    real
}

extern "C" fn missing() -> isize {
    set_errno(libc::ENOSYS);
    -1
}

/// pmem2_map_get_store_granularity(3).
static GRANULARITY: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

fn resolve_granularity() {
    let name = "pmem2_map_get_store_granularity\0";
    if let Some(real) = next(name).or_else(|| in_library(name, "pmem2")) {
        GRANULARITY.store(real, Ordering::Release);
    }
}

/// Whether what libpmem2 does about a mapping is msync(2), by pmem2_map_get_store_granularity(3).
///
/// # Safety
/// `map` must be a `struct pmem2_map *`, which the program has got from libpmem2.
pub unsafe fn pmem2_is_by_page(map: usize) -> bool {
    // libpmem2.h
    const PMEM2_GRANULARITY_PAGE: c_int = 2;
    let real = GRANULARITY.load(Ordering::Acquire);
    if real.is_null() {
        return false;
    }
    // SAFETY: the function has this type in every version; its argument by the caller's promise.
    let granularity = unsafe {
        let real: unsafe extern "C" fn(usize) -> c_int = core::mem::transmute(real);
        real(map)
    };
    granularity == PMEM2_GRANULARITY_PAGE
}

fn in_library(name: &'static str, family: &str) -> Option<*mut ()> {
    let library = match family {
        "pmem" => c"libpmem.so.1",
        "pmem2" => c"libpmem2.so.1",
        _ => return None,
    };
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: both names end in NUL. The handle is kept: so is the function.
    unsafe {
        let handle = libc::dlopen(library.as_ptr(), flags);
        (!handle.is_null()).then_some(())?;
        let found: *mut () = libc::dlsym(handle, name.as_ptr().cast()).cast();
        (!found.is_null()).then_some(found)
    }
}

/// pthread_testcancel, as [`enter`](crate::entry::trampoline::enter) calls it.
pub static TESTCANCEL: AtomicPtr<()> = AtomicPtr::new(nothing as *mut ());

extern "C" fn nothing() {}
