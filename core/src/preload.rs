//! `LD_PRELOAD`: what a program started under the library must have there (ld.so(8)).

/// The list that the library came with.
#[derive(Clone, Copy, Debug)]
pub struct Preload<'a> {
    /// Up to the library and no further: what was in front of it may stay there (a sanitizer's
    /// runtime insists on being first).
    lead: &'a [u8],
    /// The library, as it was named there.
    ours: &'a [u8],
}

impl<'a> Preload<'a> {
    /// The list `value`, in which the library is the entry with the file name `name`. `None` if
    /// there is none: it was loaded by other means.
    #[must_use]
    pub fn new(value: &'a [u8], name: &[u8]) -> Option<Preload<'a>> {
        let mut rest = value;
        while let Some((entry, behind)) = next(rest) {
            if file_name(entry) == name {
                let end = value.len().checked_sub(behind.len())?;
                return Some(Preload {
                    lead: value.get(..end)?,
                    ours: entry,
                });
            }
            rest = behind;
        }
        None
    }

    /// Whether a program with this list is under the library: it is there once, behind nothing but
    /// what it was behind, or sanitizers' runtimes.
    #[must_use]
    pub fn is_kept(&self, list: &[u8]) -> bool {
        let behind = list
            .strip_prefix(self.lead)
            .or_else(|| behind_sanitizers(list).strip_prefix(self.ours));
        behind.is_some_and(|behind| {
            behind.first().is_none_or(is_separator)
                && entries(behind).all(|entry| !self.is_ours(entry))
        })
    }

    /// Bytes that are enough for [`Preload::write`].
    #[must_use]
    pub const fn room(&self, list: &[u8]) -> usize {
        self.lead.len() + 1 + list.len()
    }

    /// Writes the list with the library in its place, once, and everything else of `list` behind it
    /// in its order, but for sanitizers' runtimes in front; how long that is. `None` if it does not
    /// fit.
    pub fn write(&self, list: &[u8], into: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            let end = at + bytes.len();
            into.get_mut(at..end)?.copy_from_slice(bytes);
            at = end;
            Some(())
        };
        let is_new = |entry: &&[u8]| {
            !self.is_ours(entry) && entries(self.lead).all(|before| before != *entry)
        };
        let behind = behind_sanitizers(list);
        let sanitizers = list.strip_suffix(behind).unwrap_or_default();
        for entry in entries(sanitizers).filter(is_new) {
            put(entry)?;
            put(b":")?;
        }
        put(self.lead)?;
        for entry in entries(behind).filter(is_new) {
            put(b":")?;
            put(entry)?;
        }
        Some(at)
    }

    /// Writes `list` without the library, the others in their order; how long that is. `None` if it does not
    /// fit. As long as `list` is enough.
    pub fn write_without(&self, list: &[u8], into: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        for entry in entries(list).filter(|entry| !self.is_ours(entry)) {
            let gap = usize::from(at != 0);
            into.get_mut(at..at + gap)?.fill(b':');
            into.get_mut(at + gap..at + gap + entry.len())?
                .copy_from_slice(entry);
            at += gap + entry.len();
        }
        Some(at)
    }

    /// Whether `list` has the library anywhere.
    #[must_use]
    pub fn is_in(&self, list: &[u8]) -> bool {
        entries(list).any(|entry| self.is_ours(entry))
    }

    /// The library, as the list names it.
    #[must_use]
    pub const fn ours(&self) -> &'a [u8] {
        self.ours
    }

    /// By file name: another copy of the library would be a second one too.
    fn is_ours(&self, entry: &[u8]) -> bool {
        file_name(entry) == file_name(self.ours)
    }
}

const fn is_separator(byte: &u8) -> bool {
    matches!(byte, b' ' | b':')
}

/// The first entry of a list, and what is behind it.
fn next(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list.iter().position(|byte| !is_separator(byte))?;
    let list = list.get(start..)?;
    let end = list.iter().position(is_separator).unwrap_or(list.len());
    list.split_at_checked(end)
}

fn entries(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (entry, behind) = next(list)?;
        list = behind;
        Some(entry)
    })
}

/// The list without the sanitizers' runtimes it begins with: a program built with one ends at once
/// where that is not first (gcc's libasan.so, clang's libclang_rt.asan-x86_64.so).
fn behind_sanitizers(list: &[u8]) -> &[u8] {
    let mut rest = list;
    while let Some((entry, behind)) = next(rest) {
        let name = file_name(entry);
        let is_gcc = name.starts_with(b"lib") && name.windows(6).any(|part| part == b"san.so");
        if !is_gcc && !name.starts_with(b"libclang_rt.") {
            break;
        }
        rest = behind;
    }
    let separators = rest.iter().take_while(|byte| is_separator(byte)).count();
    rest.get(separators..).unwrap_or_default()
}

/// What is behind the last slash.
#[must_use]
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(value: &str) -> Preload<'_> {
        Preload::new(value.as_bytes(), b"ours.so").unwrap()
    }

    fn written(preload: &Preload, list: &str) -> String {
        let mut text = vec![0; preload.room(list.as_bytes())];
        let length = preload.write(list.as_bytes(), &mut text).unwrap();
        text.truncate(length);
        assert!(preload.is_kept(&text));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_library_is_first_and_there_once() {
        for (start, list, expected) in [
            ("/l/ours.so", "", "/l/ours.so"),
            ("/l/ours.so", ": ", "/l/ours.so"),
            ("/l/ours.so", "a.so b.so:c.so", "/l/ours.so:a.so:b.so:c.so"),
            (
                "/l/ours.so",
                "a.so:/l/ours.so:b.so /old/ours.so",
                "/l/ours.so:a.so:b.so",
            ),
            ("/l/ours.so:a.so", "b.so", "/l/ours.so:b.so"),
            ("/l/ours.so:/l/ours.so:a.so", "", "/l/ours.so"),
            (
                "san.so:/l/ours.so:a.so",
                "b.so san.so",
                "san.so:/l/ours.so:b.so",
            ),
            (
                "/l/ours.so:a.so",
                " /g/libasan.so.8:libclang_rt.tsan-x86_64.so b.so libubsan.so",
                "/g/libasan.so.8:libclang_rt.tsan-x86_64.so:/l/ours.so:b.so:libubsan.so",
            ),
            (
                "libasan.so:/l/ours.so",
                "libasan.so",
                "libasan.so:/l/ours.so",
            ),
        ] {
            assert_eq!(written(&preload(start), list), expected);
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let kept = |start, list: &str| preload(start).is_kept(list.as_bytes());
        for list in ["/l/ours.so", "/l/ours.so:a.so", "/l/ours.so a.so  b.so:"] {
            assert!(kept("/l/ours.so", list) && kept("san.so:/l/ours.so", list));
        }
        assert!(kept("san.so:/l/ours.so:a.so", "san.so:/l/ours.so:a.so"));
        assert!(kept("/l/ours.so", "/g/libtsan.so.2 :/l/ours.so a.so"));
        for list in [
            "",
            "a.so",
            "a.so:/l/ours.so",
            "/l/ours.so:/l/ours.so",
            "/l/ours.so:/old/ours.so",
            "/l/ours.so.1",
            "/old/ours.so",
            "libasan.so:a.so:/l/ours.so",
            "libasan.so",
        ] {
            assert!(!kept("/l/ours.so", list), "{list}");
        }
    }

    #[test]
    fn a_list_without_the_library_is_none_of_ours() {
        for list in ["", " :", "a.so", "ours.so.1:/ours.so/a"] {
            assert!(Preload::new(list.as_bytes(), b"ours.so").is_none());
        }
    }

    #[test]
    fn the_library_can_be_left_out() {
        for (list, expected) in [
            ("/l/ours.so", ""),
            ("a.so:/l/ours.so b.so:/old/ours.so", "a.so:b.so"),
            ("a.so  b.so", "a.so:b.so"),
            (" :", ""),
        ] {
            let mut text = vec![0; list.len()];
            let length = preload("/l/ours.so").write_without(list.as_bytes(), &mut text);
            assert_eq!(&text[..length.unwrap()], expected.as_bytes());
        }
        let preload = preload("/l/ours.so");
        assert!(preload.is_in(b"a.so /x/ours.so") && !preload.is_in(b"a.so:ours.so.1"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut small = [0; 12];
        assert_eq!(
            preload("/l/ours.so").write(b"", &mut small),
            Some("/l/ours.so".len())
        );
        assert_eq!(preload("/l/ours.so").write(b"a.so", &mut small), None);
    }
}
