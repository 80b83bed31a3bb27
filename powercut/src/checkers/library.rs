//! Functions of shared libraries that need not be there when this is built.

use std::ffi::{CString, c_void};

/// A library that stays loaded.
pub struct Library {
    name: &'static str,
    handle: *mut c_void,
}

impl Library {
    /// Loads it.
    pub fn open(name: &'static str) -> Result<Self, String> {
        let c_name = CString::new(name).map_err(|error| error.to_string())?;
        // SAFETY: a name that ends in a zero; the databases' libraries have no constructors that matter.
        let handle = unsafe { libc::dlopen(c_name.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return Err(format!(
                "{name} cannot be loaded: scripts/deps test installs it"
            ));
        }
        Ok(Self { name, handle })
    }

    /// The address of a function or variable.
    pub fn symbol(&self, name: &str) -> Result<*mut c_void, String> {
        let c_name = CString::new(name).map_err(|error| error.to_string())?;
        // SAFETY: the handle is open, and the name ends in a zero.
        let found = unsafe { libc::dlsym(self.handle, c_name.as_ptr()) };
        if found.is_null() {
            return Err(format!("{} has no {name}", self.name));
        }
        Ok(found)
    }
}
