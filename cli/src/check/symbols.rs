//! Names for addresses: functions, inlined ones too, and source lines, from the module's own debug
//! information or from a separate file (by build ID or debug link, as gdb finds them). The C library's
//! are named alone: nobody looks for a mistake in its lines, it is part of every stack, and what
//! distributions have of it is compressed: 80 ms to unpack.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use daxshim_core::host::check::LogModule;
use daxshim_core::host::shown;
use object::{Object, ObjectSegment, ObjectSymbol, ReadCache, ReadRef, SymbolKind};

use super::finding::Frame;

/// Where distributions put separate debug information.
const DEBUG: &str = "/usr/lib/debug";

/// A module's symbols and debug information.
struct Image {
    /// Of each segment: offset in the file, length, address.
    segments: Vec<(u64, u64, u64)>,
    symbols: Option<Loader>,
    /// A separate file of debug information.
    debug: Option<Loader>,
    /// Of the C library, from such a file.
    functions: Functions,
}

/// Address, size and name, by address.
#[derive(Default)]
struct Functions(Vec<(u64, u64, String)>);

impl Functions {
    fn of(path: &Path) -> Option<Functions> {
        let bytes = ReadCache::new(File::open(path).ok()?);
        let file = object::File::parse(&bytes).ok()?;
        let of_code = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        let mut functions: Vec<_> = of_code
            .filter_map(|symbol| {
                // Without the version behind it.
                let name = symbol.name().ok()?.split('@').next()?;
                Some((symbol.address(), symbol.size(), name.into()))
            })
            .collect();
        functions.sort_by_key(|&(address, ..)| address);
        Some(Functions(functions))
    }

    fn at(&self, address: u64) -> Option<String> {
        let behind = self.0.partition_point(|&(start, ..)| start <= address);
        let (start, size, name) = self.0.get(behind.checked_sub(1)?)?;
        (address - start < *size).then(|| name.clone())
    }
}

fn is_c_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("libc.") || name.starts_with("ld-"))
}

/// Symbols of all modules seen so far.
#[derive(Default)]
pub struct Symbols {
    images: HashMap<PathBuf, Image>,
}

impl Symbols {
    /// The frames of a stack; more than it has addresses where functions are inlined.
    pub fn frames(&mut self, stack: &[u64], modules: &[LogModule]) -> Vec<Frame> {
        let frames = stack
            .iter()
            .flat_map(|&address| self.frames_at(address, modules));
        frames.collect()
    }

    fn frames_at(&mut self, address: u64, modules: &[LogModule]) -> Vec<Frame> {
        // Of the call, not of what returns behind it: that may be another line, or function.
        let call = address.saturating_sub(1);
        let holds = |module: &&LogModule| (module.start..module.end).contains(&call);
        let Some(module) = modules.iter().find(holds) else {
            return vec![unknown(address, None, address)];
        };
        let offset = call - module.start + module.offset;
        let image = self
            .images
            .entry(module.path.clone())
            .or_insert_with(|| Image::load(&module.path));
        let name = Some(shown(&module.path));
        let frames = image.frames(offset).unwrap_or_default();
        if frames.is_empty() {
            return vec![unknown(address, name, offset + 1)];
        }
        let last = frames.len() - 1;
        let named = frames.into_iter().enumerate().map(|(i, found)| Frame {
            function: found.function,
            source: found.source,
            line: found.line,
            inlined: i < last,
            ..unknown(address, name.clone(), offset + 1)
        });
        named.collect()
    }
}

fn unknown(address: u64, module: Option<String>, offset: u64) -> Frame {
    Frame {
        address,
        module,
        offset,
        function: None,
        source: None,
        line: None,
        inlined: false,
    }
}

struct Found {
    function: Option<String>,
    source: Option<String>,
    line: Option<u32>,
}

impl Image {
    fn load(path: &Path) -> Image {
        let mut image = Image {
            segments: Vec::new(),
            symbols: Loader::new(path).ok(),
            debug: None,
            functions: Functions::default(),
        };
        // Of large programs' files little is asked for.
        let Ok(bytes) = File::open(path).map(ReadCache::new) else {
            return image;
        };
        let Ok(file) = object::File::parse(&bytes) else {
            return image;
        };
        image.segments = file
            .segments()
            .map(|segment| {
                let (offset, length) = segment.file_range();
                (offset, length, segment.address())
            })
            .collect();
        if file.section_by_name(".debug_info").is_none() {
            let found = separate(path, &file).into_iter().find(|file| file.exists());
            if is_c_library(path) {
                image.functions = found
                    .and_then(|file| Functions::of(&file))
                    .unwrap_or_default();
            } else {
                image.debug = found.and_then(|file| Loader::new(file).ok());
            }
        }
        image
    }

    fn frames(&self, offset: u64) -> Option<Vec<Found>> {
        let (start, _, address) = self
            .segments
            .iter()
            .copied()
            .find(|&(start, length, _)| (start..start + length).contains(&offset))?;
        let address = offset - start + address;
        let mut found = Vec::new();
        for loader in [&self.debug, &self.symbols].into_iter().flatten() {
            found = by_debug_information(loader, address);
            if !found.is_empty() {
                break;
            }
        }
        if found.is_empty() {
            let symbol = |loader: &Loader| loader.find_symbol(address).map(demangled);
            let mut loaders = [&self.debug, &self.symbols].into_iter().flatten();
            found.push(Found {
                function: Some(
                    self.functions
                        .at(address)
                        .or_else(|| loaders.find_map(symbol))?,
                ),
                source: None,
                line: None,
            });
        }
        Some(found)
    }
}

fn by_debug_information(loader: &Loader, address: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let Ok(mut frames) = loader.find_frames(address) else {
        return found;
    };
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.as_ref();
        let name = name.and_then(|name| name.demangle().ok().map(|name| name.into_owned()));
        let place = frame.location;
        found.push(Found {
            function: name.or_else(|| loader.find_symbol(address).map(demangled)),
            source: place
                .as_ref()
                .and_then(|place| place.file.as_ref().map(|file| file.to_string())),
            line: place.and_then(|place| place.line),
        });
    }
    // A line table without functions tells nothing that the symbols do not.
    found.retain(|frame| frame.function.is_some());
    found
}

fn demangled(symbol: &str) -> String {
    addr2line::demangle_auto(symbol.into(), None).into_owned()
}

/// Where a separate file of debug information would be.
fn separate<'data>(path: &Path, file: &object::File<'data, impl ReadRef<'data>>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Ok(Some([first, rest @ ..])) = file.build_id() {
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        places.push(PathBuf::from(format!(
            "{DEBUG}/.build-id/{first:02x}/{rest}.debug"
        )));
    }
    let link = file.gnu_debuglink().ok().flatten();
    let link = link.and_then(|(name, _)| std::str::from_utf8(name).ok());
    if let (Some(name), Some(directory)) = (link, path.parent()) {
        places.push(directory.join(name));
        places.push(directory.join(".debug").join(name));
        let below = directory.strip_prefix("/").unwrap_or(directory);
        places.push(Path::new(DEBUG).join(below).join(name));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn here() -> u64 {
        here as *const () as u64 + 1
    }

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let address = here();
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let lines = maps.split(|&byte| byte == b'\n');
        let mappings = lines.filter_map(daxshim_core::maps::Mapping::parse);
        let modules: Vec<LogModule> = mappings
            .filter(daxshim_core::maps::Mapping::is_executable)
            .map(|mapping| LogModule {
                start: mapping.start as u64,
                end: mapping.end as u64,
                offset: mapping.offset,
                path: std::env::current_exe().unwrap(),
            })
            .collect();
        let frames = Symbols::default().frames(&[address, 1], &modules);
        let function = frames[0].function.as_deref().unwrap();
        assert!(function.contains("symbols::tests::here"), "{function}");
        assert!(frames[0].line.is_some());
        assert_eq!(frames.last().unwrap().module, None);
    }
}
