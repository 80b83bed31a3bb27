//! The command must not be refused by the shim that it serves.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where `LD_PRELOAD` names the shim, starts the command again without it: under the shim,
/// `daxshim prepare` and `untag` would get EPERM from their own enforcement.
pub fn shake_off() {
    let Some(preload) = std::env::var_os("LD_PRELOAD") else {
        return;
    };
    let Some(rest) = without_shim(&preload) else {
        return;
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "daxshim".into());
    let mut again = Command::new("/proc/self/exe");
    again.arg0(name).args(arguments);
    if rest.is_empty() {
        again.env_remove("LD_PRELOAD");
    } else {
        again.env("LD_PRELOAD", rest);
    }
    // Returns only if it failed; then the work is tried under the shim, which refuses loudly.
    let _ = again.exec();
}

/// The list without the shim; `None` if it was not in it.
fn without_shim(preload: &OsStr) -> Option<std::ffi::OsString> {
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
    Some(std::ffi::OsString::from_vec(rest.join(&b':')))
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
