//! Whether `daxshim check` can show who called.

use std::ffi::CStr;

/// Why there are no stacks, and what to do about it; `None` where there are.
///
/// The library takes a stack by what glibc has from 2.35 on, which needs no lock.
pub fn missing() -> Option<String> {
    // SAFETY: a C string with its NUL; the default lookup order.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    found.is_null().then(|| {
        // SAFETY: a C string that lives as long as the C library.
        let glibc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
        format!(
            "findings have no stacks: that takes glibc 2.35 or newer, and this is {}",
            glibc.to_string_lossy()
        )
    })
}
