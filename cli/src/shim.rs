//! The command must not be refused by the shim that it serves.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;
use syscalls::{Sysno, syscall};

const PRELOAD: &str = "LD_PRELOAD";

/// Where `LD_PRELOAD` names the shim, starts the command again without it: under the shim,
/// `daxshim prepare` and `untag` would get EPERM from their own enforcement.
pub fn shake_off() {
    let Some(rest) = std::env::var_os(PRELOAD).and_then(|preload| without_shim(&preload)) else {
        return;
    };
    let others = std::env::vars_os().filter(|(name, _)| name != PRELOAD);
    let preload = (!rest.is_empty()).then(|| (PRELOAD.into(), rest));
    let environment = others
        .chain(preload)
        .map(|(name, value)| [name, value].join(OsStr::new("=")));
    execute_itself(std::env::args_os(), environment);
    // It failed: the work is tried under the shim, which refuses loudly.
}

/// execve(2) of this program; returns only if it fails. Not libc's, as the shim would have itself
/// preloaded again.
fn execute_itself(
    mut arguments: impl Iterator<Item = OsString>,
    mut environment: impl Iterator<Item = OsString>,
) {
    // None of them has a NUL: the kernel handed them out.
    let c_strings = |all: &mut dyn Iterator<Item = OsString>| -> Vec<CString> {
        all.filter_map(|text| CString::new(text.into_vec()).ok())
            .collect()
    };
    let pointers = |all: &[CString]| -> Vec<_> {
        let each = all.iter().map(|text| text.as_ptr());
        each.chain([ptr::null()]).collect()
    };
    let texts = [c_strings(&mut arguments), c_strings(&mut environment)];
    let [arguments, environment] = texts.each_ref().map(|all| pointers(all));
    // SAFETY: a C string, and two null-terminated arrays of such, all alive.
    let _ = unsafe {
        syscall!(
            Sysno::execve,
            c"/proc/self/exe".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr()
        )
    };
}

/// The list without the shim; `None` if it was not in it.
fn without_shim(preload: &OsStr) -> Option<OsString> {
    // ld.so(8): separated by spaces or colons.
    let parts = || {
        preload
            .as_bytes()
            .split(|byte| matches!(byte, b' ' | b':'))
            .filter(|part| !part.is_empty())
    };
    let is_shim = |part: &[u8]| {
        part.rsplit(|&byte| byte == b'/')
            .next()
            .is_some_and(|name| name.starts_with(b"libdaxshim"))
    };
    if !parts().any(is_shim) {
        return None;
    }
    let rest: Vec<&[u8]> = parts().filter(|part| !is_shim(part)).collect();
    Some(OsString::from_vec(rest.join(&b':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shim_is_taken_out() {
        let rest = |list: &str| without_shim(OsStr::new(list));
        assert_eq!(rest("/usr/lib/libdaxshim.so"), Some("".into()));
        assert_eq!(rest("libdaxshim.so a.so:b.so"), Some("a.so:b.so".into()));
        assert_eq!(rest("a.so"), None);
        assert_eq!(rest("/libdaxshim.so/a.so"), None);
        assert_eq!(rest(""), None);
    }
}
