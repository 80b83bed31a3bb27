//! The environment of programs that this one executes: what brings the library into them and tells
//! it what to do, also where the program hands on an environment of its own.
//!
//! These variables are copied at start, as programs write over their environment. An environment that has them goes to
//! the kernel as it came. A variable that the program set itself stays as it is; only what is missing is added, and the
//! library put into `LD_PRELOAD`.

use crate::exec::scratch::Scratch;
use crate::ground::memory::{PageCopy, leak, leak_bytes, read_all, string_length, within_page};
use core::ffi::{CStr, c_char, c_void};
use daxshim_core::config::Variable;
use daxshim_core::preload::{Preload, file_name};
use libc::iovec;
use once_cell::race::OnceRef;

/// Written once, by the constructor.
static INHERITED: OnceRef<Inherited> = OnceRef::new();

/// Most settings that are handed on.
const SETTINGS: usize = 32;
/// Bytes of a variable that are compared: longer than any name of ours.
const PREFIX: usize = 32;
/// Pointers read together.
const BATCH: usize = 16;
/// Bytes of a longer text that are looked at together.
const PIECE: usize = 64;
const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// What the environment had at start; everything in it is a copy.
struct Inherited {
    /// `LD_PRELOAD=LIST`, if the library was in the list.
    preload: Option<(&'static CStr, Preload<'static>)>,
    /// The library's path there, if it is one.
    library: Option<&'static CStr>,
    /// `NAME=VALUE` of what steers the library.
    settings: [Option<&'static CStr>; SETTINGS],
}

/// Copies what is to be handed on. `library` is the file name of this library.
///
/// # Safety
/// `environment` is null or a null-terminated array of C strings.
pub unsafe fn remember(environment: *const *const c_char, library: &CStr) {
    let name = file_name(library.to_bytes());
    // SAFETY: by the caller's promise.
    let all = || unsafe { variables(environment) };
    let preload = |text: &CStr| {
        let list = text.to_bytes().strip_prefix(PRELOAD)?;
        Preload::new(list, name).map(|_| ())
    };
    let is_kept = |text: &&CStr| is_setting(text.to_bytes()) || preload(text).is_some();
    let length = all()
        .filter(is_kept)
        .map(|text| text.count_bytes() + 1)
        .sum();
    // For nothing, no room is needed and none is given.
    let Some(mut room) = leak_bytes(length) else {
        return;
    };
    let mut inherited = Inherited {
        preload: None,
        library: None,
        settings: [None; SETTINGS],
    };
    let mut free = inherited.settings.iter_mut();
    for text in all().filter(is_kept) {
        let Some((here, behind)) = room.split_at_mut_checked(text.count_bytes() + 1) else {
            break;
        };
        here.copy_from_slice(text.to_bytes_with_nul());
        room = behind;
        let Ok(copy) = CStr::from_bytes_with_nul(here) else {
            continue;
        };
        match copy.to_bytes().strip_prefix(PRELOAD) {
            // Of several, the loader takes the last.
            Some(list) => inherited.preload = Preload::new(list, name).map(|list| (copy, list)),
            None => {
                if let Some(slot) = free.next() {
                    *slot = Some(copy);
                }
            }
        }
    }
    let ours = inherited.preload.as_ref().map(|(_, list)| list.ours());
    // Without a slash the loader searches for it.
    if let Some(ours) = ours.filter(|path| path.contains(&b'/'))
        && let Some(copy) = leak_bytes(ours.len() + 1)
    {
        for (to, from) in copy.iter_mut().zip(ours) {
            *to = *from;
        }
        inherited.library = CStr::from_bytes_with_nul(copy).ok();
    }
    if let Some(inherited) = leak(inherited) {
        let _ = INHERITED.set(inherited);
    }
}

/// # Safety
/// As for [`remember`].
unsafe fn variables(mut entry: *const *const c_char) -> impl Iterator<Item = &'static CStr> {
    core::iter::from_fn(move || {
        // SAFETY: null, or not past the terminating null.
        unsafe {
            if entry.is_null() || (*entry).is_null() {
                return None;
            }
            let text = CStr::from_ptr(*entry);
            entry = entry.add(1);
            Some(text)
        }
    })
}

fn is_setting(text: &[u8]) -> bool {
    let word = |name: &CStr| {
        let rest = text.strip_prefix(name.to_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'='))
    };
    let fits = name_of(text).is_some_and(|name| name.len() <= PREFIX);
    fits && (text.starts_with(b"DAXSHIM_")
        || Variable::ALL.iter().any(|variable| word(variable.name())))
}

/// The list of an `LD_PRELOAD=LIST`.
fn value(variable: &'static CStr) -> &'static [u8] {
    variable.to_bytes().strip_prefix(PRELOAD).unwrap_or(&[])
}

/// The name and its `=`.
fn name_of(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|&byte| byte == b'=')?;
    text.get(..=end)
}

/// The library as `LD_PRELOAD` named it, if that is a path.
pub fn library() -> Option<&'static CStr> {
    INHERITED.get()?.library
}

/// What an environment has, of what it should have.
pub struct Look {
    /// The program's array.
    array: usize,
    /// Variables in it.
    count: usize,
    /// Index and address of `LD_PRELOAD`: the last, which is the one that the loader takes.
    preload: Option<(usize, usize)>,
    /// Bit N: `settings[N]` is not in it.
    missing: u32,
}

/// Looks at the environment that a program is to get. `None`: it can't be read, about which the kernel will
/// have something to say, or there is nothing to hand on.
#[inline(never)]
pub fn look(array: usize, page: &mut PageCopy) -> Option<Look> {
    let inherited = INHERITED.get()?;
    let mut look = Look {
        array,
        count: 0,
        preload: None,
        missing: 0,
    };
    for (number, setting) in inherited.settings.iter().enumerate() {
        look.missing |= u32::from(setting.is_some()) << number;
    }
    // Linux takes no environment for an empty one.
    if array != 0 {
        look.read(page, inherited)?;
    }
    Some(look)
}

impl Look {
    /// Whether it is at once seen to be as it should be.
    pub fn is_right(&self, page: &mut PageCopy) -> bool {
        let Some(inherited) = INHERITED.get() else {
            return true;
        };
        let is_kept = match (&inherited.preload, self.preload) {
            (Some((variable, preload)), Some((_, at))) => {
                is_same(page, at, variable) && preload.is_kept(value(variable))
            }
            (Some(_), None) => false,
            (None, _) => true,
        };
        is_kept && self.missing == 0
    }

    fn read(&mut self, page: &mut PageCopy, inherited: &Inherited) -> Option<()> {
        loop {
            let at = self.array.checked_add(self.count * size_of::<usize>())?;
            let mut pointers = [0; BATCH * size_of::<usize>()];
            // No further than the array can be read, but for one that lies across two pages.
            let length = (within_page(at, pointers.len()).iov_len & !7).max(size_of::<usize>());
            let (pointers, _) = page.exactly(at, pointers.get_mut(..length)?)?.as_chunks();
            for pointer in pointers {
                let text = usize::from_ne_bytes(*pointer);
                if text == 0 {
                    return Some(());
                }
                self.compare(text, page.prefix(text, &mut [0; PREFIX])?, inherited);
                self.count += 1;
            }
        }
    }

    fn compare(&mut self, text: usize, prefix: &[u8], inherited: &Inherited) {
        if prefix.starts_with(PRELOAD) {
            self.preload = Some((self.count, text));
        }
        for (number, setting) in inherited.settings.iter().enumerate() {
            let Some(setting) = setting else { break };
            let name = name_of(setting.to_bytes());
            if name.is_some_and(|name| prefix.starts_with(name)) {
                self.missing &= !(1 << number);
            }
        }
    }

    /// The address of the environment with what it lacks, in memory of ours; `Ok(None)`: it lacks nothing
    /// after all.
    ///
    /// # Errors
    /// There is no room for it.
    #[inline(never)]
    pub fn complete(&self, scratch: &mut Scratch) -> Result<Option<usize>, NoRoom> {
        let inherited = INHERITED.get().ok_or(NoRoom)?;
        let old = match (&inherited.preload, self.preload) {
            (Some(_), Some((_, at))) => string_length(at, usize::MAX).ok_or(NoRoom)?,
            _ => 0,
        };
        let added = self.missing.count_ones() as usize + 1;
        let array = (self.count + added + 1) * size_of::<usize>();
        let new = match &inherited.preload {
            Some((_, preload)) => PRELOAD.len() + preload.room(&[]) + old + 1,
            None => 0,
        };
        let room = scratch.environment(array + new + old).ok_or(NoRoom)?;
        let address = room.as_ptr() as usize;
        let (array, text) = room.split_at_mut_checked(array).ok_or(NoRoom)?;
        let (text, was) = text.split_at_mut_checked(new).ok_or(NoRoom)?;
        let (entries, _) = array.as_chunks_mut();
        let mut list = List { entries, end: 0 };
        list.copy(self.array, self.count)?;
        let mut is_changed = self.missing != 0;
        match (&inherited.preload, self.preload) {
            (None, _) => {}
            (Some((variable, _)), None) => {
                list.add(variable.as_ptr())?;
                is_changed = true;
            }
            (Some((_, preload)), Some((index, at))) => {
                let was = copy_exactly(at, was.get_mut(..old).ok_or(NoRoom)?);
                let was = was.and_then(|was| was.strip_prefix(PRELOAD));
                let was = was.ok_or(NoRoom)?;
                if !preload.is_kept(was) {
                    list.set(index, write(preload, was, text)?)?;
                    is_changed = true;
                }
            }
        }
        for setting in self.missing_of(inherited) {
            list.add(setting.as_ptr())?;
        }
        list.add(core::ptr::null())?;
        Ok(is_changed.then_some(address))
    }

    /// The same without the library, for a program whose loader can't load it; everything else stays.
    ///
    /// # Errors
    /// There is no room for it.
    #[inline(never)]
    pub fn strip(&self, scratch: &mut Scratch) -> Result<Option<usize>, NoRoom> {
        let inherited = INHERITED.get().ok_or(NoRoom)?;
        let (Some((_, preload)), Some((index, at))) = (&inherited.preload, self.preload) else {
            return Ok(None);
        };
        let old = string_length(at, usize::MAX).ok_or(NoRoom)?;
        let array = (self.count + 1) * size_of::<usize>();
        let room = scratch.environment(array + 2 * (old + 1)).ok_or(NoRoom)?;
        let address = room.as_ptr() as usize;
        let (array, text) = room.split_at_mut_checked(array).ok_or(NoRoom)?;
        let (text, was) = text.split_at_mut_checked(old + 1).ok_or(NoRoom)?;
        let was = copy_exactly(at, was.get_mut(..old).ok_or(NoRoom)?);
        let was = was
            .and_then(|was| was.strip_prefix(PRELOAD))
            .ok_or(NoRoom)?;
        if !preload.is_in(was) {
            return Ok(None);
        }
        let (entries, _) = array.as_chunks_mut();
        let mut list = List { entries, end: 0 };
        list.copy(self.array, self.count)?;
        let (name, value) = text.split_at_mut_checked(PRELOAD.len()).ok_or(NoRoom)?;
        name.copy_from_slice(PRELOAD);
        match preload.write_without(was, value).ok_or(NoRoom)? {
            0 => list.remove(index)?,
            end => {
                *value.get_mut(end).ok_or(NoRoom)? = 0;
                list.set(index, text.as_ptr().cast())?;
            }
        }
        list.add(core::ptr::null())?;
        Ok(Some(address))
    }

    fn missing_of(&self, inherited: &'static Inherited) -> impl Iterator<Item = &'static CStr> {
        let missing = self.missing;
        let numbered = inherited.settings.iter().enumerate();
        numbered.filter_map(move |(number, setting)| setting.filter(|_| missing >> number & 1 != 0))
    }
}

/// An environment could not be completed.
#[derive(Debug)]
pub struct NoRoom;

/// An array of pointers in the making.
struct List<'a> {
    entries: &'a mut [[u8; size_of::<usize>()]],
    end: usize,
}

impl List<'_> {
    fn copy(&mut self, array: usize, count: usize) -> Result<(), NoRoom> {
        let entries = self.entries.get_mut(..count).ok_or(NoRoom)?;
        copy_exactly(array, entries.as_flattened_mut()).ok_or(NoRoom)?;
        self.end = count;
        Ok(())
    }

    fn set(&mut self, index: usize, text: *const c_char) -> Result<(), NoRoom> {
        *self.entries.get_mut(index).ok_or(NoRoom)? = (text as usize).to_ne_bytes();
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Result<(), NoRoom> {
        let behind = index + 1..self.end;
        if behind.end > self.entries.len() || behind.start > behind.end {
            return Err(NoRoom);
        }
        self.entries.copy_within(behind, index);
        self.end -= 1;
        Ok(())
    }

    fn add(&mut self, text: *const c_char) -> Result<(), NoRoom> {
        self.set(self.end, text)?;
        self.end += 1;
        Ok(())
    }
}

/// Writes `LD_PRELOAD=LIST`, where `list` is what the program has there.
fn write(preload: &Preload, list: &[u8], text: &mut [u8]) -> Result<*const c_char, NoRoom> {
    let (name, value) = text.split_at_mut_checked(PRELOAD.len()).ok_or(NoRoom)?;
    name.copy_from_slice(PRELOAD);
    let end = preload.write(list, value).ok_or(NoRoom)?;
    *value.get_mut(end).ok_or(NoRoom)? = 0;
    Ok(text.as_ptr().cast())
}

/// Fills `into` with what is at `address`.
fn copy_exactly(address: usize, into: &mut [u8]) -> Option<&[u8]> {
    let from = iovec {
        iov_base: address as *mut c_void,
        iov_len: into.len(),
    };
    read_all(&[from], into)
}

/// Whether `text` is this C string.
fn is_same(page: &mut PageCopy, text: usize, expected: &CStr) -> bool {
    let mut bytes = [0; PIECE];
    let mut pieces = expected.to_bytes_with_nul().chunks(PIECE);
    let mut at = text;
    pieces.all(|piece| {
        let room = bytes.get_mut(..piece.len());
        let found = room.and_then(|room| page.exactly(at, room));
        at = at.wrapping_add(piece.len());
        found == Some(piece)
    })
}
