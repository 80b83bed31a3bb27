//! A state as files: for mount, fsck, and whoever wants to look at it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::choose::Written;
use crate::trace::{LINE, PAGE};

/// Writes STEM.image, the whole device, sparse; and STEM.file, what the file in it must then be.
pub fn image(stem: &Path, durable: &[u8], written: &[Written], file: &[u8]) -> io::Result<()> {
    let image = File::create(stem.with_extension("image"))?;
    image.set_len(durable.len() as u64)?;
    for (page, content) in durable.chunks(PAGE).enumerate() {
        if content.iter().any(|byte| *byte != 0) {
            image.write_all_at(content, (page * PAGE) as u64)?;
        }
    }
    for written in written {
        image.write_all_at(&written.content, u64::from(written.line) * LINE as u64)?;
    }
    std::fs::write(stem.with_extension("file"), file)
}
