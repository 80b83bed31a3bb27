//! Code that is loaded: the program's, and its libraries'.

use core::ffi::{c_int, c_void};
use libc::dl_phdr_info;

/// An executable part of the program or of a library.
#[derive(Clone, Copy, Default)]
pub struct Code {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
}

impl Code {
    /// # Safety
    /// It must be readable for as long as the bytes are looked at.
    pub unsafe fn bytes(&self) -> &'static [u8] {
        // SAFETY: by the caller's promise.
        unsafe { core::slice::from_raw_parts(self.start as *const u8, self.end - self.start) }
    }
}

/// The executable part of libc.
pub fn libc_code() -> Option<Code> {
    // Not a function that anybody interposes.
    code_at(libc::gnu_get_libc_version as *const () as usize)
}

/// The executable part that an address lies in. Takes the loader's lock: for the constructor only.
pub fn code_at(address: usize) -> Option<Code> {
    let mut search = Search {
        address,
        found: None,
    };
    // SAFETY: `visit` gets the search that it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

struct Search {
    address: usize,
    found: Option<Code>,
}

unsafe extern "C" fn visit(object: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) hands out a valid object, and back what it was given.
    let (object, search) = unsafe { (&*object, &mut *search.cast::<Search>()) };
    // SAFETY: as many headers as it says.
    let headers =
        unsafe { core::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    for header in headers {
        let start = object.dlpi_addr as usize + header.p_vaddr as usize;
        let end = start + header.p_memsz as usize;
        let executable = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
        if executable && (start..end).contains(&search.address) {
            search.found = Some(Code { start, end });
            return 1;
        }
    }
    0
}
