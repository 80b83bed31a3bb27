//! How the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A preloaded library's constructor runs after those of the libraries that the program needs, and after
    // .preinit_array; that of the one object which is marked so, before all of them (dlopen(3)'s `_dl_init` in
    // glibc). Of several, the loader honours the last one that it mapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,initfirst");
    // What std brings along; of the command, it has to stay (demo/).
    println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-debug");
    // By which a program that is linked with it, and has it preloaded, has it once.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdaxshim.so");
}
