//! Stores to a file by memmap2, for the test `watch`. Started as PROGRAM wrong|right DIR: `wrong` has flush_async
//! for what flush must do.

use std::fs::File;
use std::io;
use std::path::PathBuf;

#[inline(never)]
fn commit(map: &memmap2::MmapMut, wrong: bool) -> io::Result<()> {
    if wrong {
        map.flush_async()
    } else {
        map.flush()
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let wrong = arguments.next().is_some_and(|what| what == "wrong");
    let directory = PathBuf::from(arguments.next().unwrap_or_default());
    let file = File::options()
        .read(true)
        .write(true)
        .open(directory.join("file"))?;
    // SAFETY: nobody else has the file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file)? };
    if let Some(byte) = map.get_mut(5000) {
        *byte ^= 1;
    }
    commit(&map, wrong)
}
