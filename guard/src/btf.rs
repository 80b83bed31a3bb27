//! Reads the kernel's own description of its types: `/sys/kernel/btf/vmlinux`
//! (Documentation/bpf/btf.rst). Only what the programs ask for: where fields of structs lie, and what
//! functions take.
//!
//! Longer than other files: one format, and its tests on a BTF made by hand.

use std::fs;

use crate::Error;

/// Where the kernel keeps it.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins in `bytes`; type 0 is void.
    types: Vec<usize>,
    /// Where the names begin.
    strings: usize,
}

/// A field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it lies in the struct, bytes.
    pub offset: i16,
    /// Its size, bytes: 1, 2, 4 or 8 for what a program can load at once.
    pub size: u32,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty where the prototype has none.
    pub name: String,
    /// The struct that it points to, if it does.
    pub points_to: Option<String>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its number, by which programs are attached.
    pub id: u32,
    /// What it takes.
    pub parameters: Vec<Parameter>,
}

impl Function {
    /// The place of the parameter that is the `nth` (from 0) pointer to a struct of this name.
    #[must_use]
    pub fn pointer_to(&self, name: &str, nth: usize) -> Option<usize> {
        let points = |parameter: &Parameter| parameter.points_to.as_deref() == Some(name);
        let places = self.parameters.iter().enumerate();
        places.filter(|(_, p)| points(p)).nth(nth).map(|(i, _)| i)
    }

    /// The place of the parameter of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }
}

/// The kinds of types (`BTF_KIND_*`, linux/btf.h) that are told apart here.
mod kind {
    pub const INT: u32 = 1;
    pub const POINTER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNCTION: u32 = 12;
    pub const PROTOTYPE: u32 = 13;
    pub const VARIABLE: u32 = 14;
    pub const SECTION: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECLARATION_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// `struct btf_type`, and where what follows it begins.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    info: u32,
    /// The size, or the type that this one is about.
    size_or_type: u32,
    rest: usize,
}

impl Type {
    const HEAD: usize = 12;

    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    /// Members, parameters, values that follow.
    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Members' offsets share their word with the width of a bit field.
    fn has_bit_fields(self) -> bool {
        self.info >> 31 != 0
    }

    /// The bytes that follow the head; none for a kind that nobody knows.
    fn tail(self) -> Option<usize> {
        Some(match self.kind() {
            kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::SECTION | kind::ENUM64 => 12 * self.count(),
            kind::ENUM | kind::PROTOTYPE => 8 * self.count(),
            kind::POINTER..=kind::FLOAT | kind::TYPE_TAG => 0,
            _ => return None,
        })
    }
}

impl Btf {
    /// Reads the running kernel's.
    ///
    /// # Errors
    /// It has none, or not one that can be read.
    pub fn of_kernel() -> Result<Btf, Error> {
        let bytes = fs::read(PATH).map_err(|error| {
            Error::new(
                format!("cannot read {PATH}"),
                format!("{error}: the kernel does not describe its types"),
                "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 12, Ubuntu 22.04 and \
                 RHEL 9 are",
            )
        })?;
        Btf::parse(bytes).ok_or_else(|| {
            Error::new(
                format!("cannot understand {PATH}"),
                "it is not in the format that this version of daxshim knows",
                "please report it, with the kernel's release",
            )
        })
    }

    /// Takes in bytes in the format of that file, of this machine's byte order.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Btf> {
        const MAGIC: u16 = 0xeb9f;
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        let word = |at: usize| word(&bytes, at).map(|word| word as usize);
        let (head, type_start, type_length) = (word(4)?, word(8)?, word(12)?);
        let (string_start, string_length) = (word(16)?, word(20)?);
        let strings = head.checked_add(string_start)?;
        if magic != MAGIC || strings.checked_add(string_length)? > bytes.len() {
            return None;
        }
        let mut at = head.checked_add(type_start)?;
        let end = at.checked_add(type_length)?;
        let mut btf = Btf {
            bytes,
            types: vec![0],
            strings,
        };
        while at < end {
            let found = btf.type_at(at)?;
            btf.types.push(at);
            at = found.rest.checked_add(found.tail()?)?;
        }
        (at == end && end <= btf.bytes.len()).then_some(btf)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        Some(Type {
            name: word(&self.bytes, at)?,
            info: word(&self.bytes, at + 4)?,
            size_or_type: word(&self.bytes, at + 8)?,
            rest: at + Type::HEAD,
        })
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        // Type 0, void, has no description.
        let at = self.types.get(id as usize).filter(|_| id != 0)?;
        self.type_at(*at)
    }

    fn name(&self, offset: u32) -> Option<&str> {
        let from = self
            .bytes
            .get(self.strings.checked_add(offset as usize)?..)?;
        let length = from.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(from.get(..length)?).ok()
    }

    /// The first type of one of these kinds with this name.
    fn find(&self, name: &str, kinds: &[u32]) -> Option<(u32, Type)> {
        (1_u32..)
            .zip(self.types.iter().skip(1))
            .find_map(|(id, &at)| {
                let found = self.type_at(at)?;
                let same = kinds.contains(&found.kind()) && self.name(found.name)? == name;
                same.then_some((id, found))
            })
    }

    /// What a type is when qualifiers and other names are taken off.
    fn plain(&self, mut id: u32) -> Option<(u32, Type)> {
        // No kernel nests them so deep; a circle would never end.
        for _ in 0..32 {
            let found = self.type_of(id)?;
            match found.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type
                }
                _ => return Some((id, found)),
            }
        }
        None
    }

    /// Bytes that a value of the type takes; none for what is not loaded by value.
    fn size(&self, id: u32) -> Option<u32> {
        let (_, found) = self.plain(id)?;
        match found.kind() {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(found.size_or_type)
            }
            kind::POINTER => Some(size_of::<usize>() as u32),
            _ => Some(0),
        }
    }

    /// The function of this name; `None` where the kernel has none.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        let (id, found) = self.find(name, &[kind::FUNCTION])?;
        let prototype = self.type_of(found.size_or_type)?;
        if prototype.kind() != kind::PROTOTYPE {
            return None;
        }
        let parameters = (0..prototype.count()).map(|i| {
            let at = prototype.rest + 8 * i;
            Some(Parameter {
                name: self.name(word(&self.bytes, at)?)?.to_owned(),
                points_to: self.pointed_to(word(&self.bytes, at + 4)?),
            })
        });
        Some(Function {
            id,
            parameters: parameters.collect::<Option<_>>()?,
        })
    }

    fn pointed_to(&self, id: u32) -> Option<String> {
        let (_, pointer) = self.plain(id).filter(|(_, t)| t.kind() == kind::POINTER)?;
        let (_, target) = self.plain(pointer.size_or_type)?;
        (target.kind() == kind::STRUCT).then(|| self.name(target.name).map(str::to_owned))?
    }

    /// A field of a struct, by the struct's name and a path such as `ia_uid.val`. Members of unnamed
    /// structs and unions count as the struct's own, as in C.
    ///
    /// # Errors
    /// The kernel has no such struct or field: it says which.
    pub fn field(&self, of: &str, path: &str) -> Result<Field, Error> {
        let missing = || {
            Error::new(
                "cannot make the guard's programs for this kernel",
                format!("its struct {of} has no field {path}"),
                "please report it, with the kernel's release",
            )
        };
        let (mut id, _) = self
            .find(of, &[kind::STRUCT, kind::UNION])
            .ok_or_else(missing)?;
        let mut bits = 0_u32;
        for name in path.split('.') {
            let (offset, member) = self.member(id, name, 0).ok_or_else(missing)?;
            bits += offset;
            id = member;
        }
        // Not one that begins inside a byte: a load could not find it.
        let offset = bits.is_multiple_of(8).then_some(bits / 8);
        Ok(Field {
            offset: offset
                .and_then(|bytes| i16::try_from(bytes).ok())
                .ok_or_else(missing)?,
            size: self.size(id).ok_or_else(missing)?,
        })
    }

    /// Whether the kernel has the struct, and it the field.
    #[must_use]
    pub fn has(&self, of: &str, path: &str) -> bool {
        self.field(of, path).is_ok()
    }

    /// The offset in bits and the type of a member.
    fn member(&self, of: u32, wanted: &str, depth: u32) -> Option<(u32, u32)> {
        let (_, found) = self.plain(of)?;
        if !matches!(found.kind(), kind::STRUCT | kind::UNION) || depth > 16 {
            return None;
        }
        (0..found.count()).find_map(|i| {
            let at = found.rest + 12 * i;
            let name = self.name(word(&self.bytes, at)?)?;
            let member = word(&self.bytes, at + 4)?;
            let mut offset = word(&self.bytes, at + 8)?;
            if found.has_bit_fields() {
                offset &= 0x00ff_ffff;
            }
            match name {
                "" => {
                    let (inner, member) = self.member(member, wanted, depth + 1)?;
                    Some((offset + inner, member))
                }
                name => (name == wanted).then_some((offset, member)),
            }
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description made by hand.
    #[derive(Default)]
    struct Maker {
        types: Vec<u8>,
        names: Vec<u8>,
        count: u32,
    }

    impl Maker {
        fn new() -> Maker {
            Maker {
                names: vec![0],
                ..Maker::default()
            }
        }

        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = self.names.len() as u32;
            self.names.extend(name.as_bytes());
            self.names.push(0);
            at
        }

        fn add(&mut self, name: &str, info: u32, third: u32, rest: &[u32]) -> u32 {
            let name = self.name(name);
            for word in [name, info, third].iter().chain(rest) {
                self.types.extend(word.to_ne_bytes());
            }
            self.count += 1;
            self.count
        }

        fn plain(&mut self, kind: u32, name: &str, third: u32) -> u32 {
            let rest: &[u32] = if kind == kind::INT { &[32] } else { &[] };
            self.add(name, kind << 24, third, rest)
        }

        fn structure(
            &mut self,
            kind: u32,
            name: &str,
            size: u32,
            members: &[(&str, u32, u32)],
        ) -> u32 {
            let rest: Vec<u32> = members
                .iter()
                .flat_map(|&(name, member, bits)| [self.name(name), member, bits])
                .collect();
            self.add(name, kind << 24 | members.len() as u32, size, &rest)
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = Vec::new();
            bytes.extend(0xeb9f_u16.to_ne_bytes());
            bytes.extend([1, 0]);
            let (types, names) = (self.types.len() as u32, self.names.len() as u32);
            for word in [24, 0, types, types, names] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(&self.types);
            bytes.extend(&self.names);
            bytes
        }
    }

    fn sample() -> Maker {
        let mut maker = Maker::new();
        let int = maker.plain(kind::INT, "unsigned int", 4);
        let alias = maker.plain(kind::TYPEDEF, "dev_t", int);
        let inner = maker.structure(kind::UNION, "", 8, &[("i_a", int, 0), ("i_b", alias, 32)]);
        let val = maker.structure(kind::STRUCT, "", 4, &[("val", int, 0)]);
        let kuid = maker.plain(kind::TYPEDEF, "kuid_t", val);
        let inode = maker.structure(
            kind::STRUCT,
            "inode",
            32,
            &[("i_mode", int, 0), ("", inner, 64), ("i_uid", kuid, 128)],
        );
        let constant = maker.plain(kind::CONST, "", inode);
        let pointer = maker.plain(kind::POINTER, "", constant);
        let prototype = {
            let (a, b, c) = (maker.name("mode"), maker.name("one"), maker.name("two"));
            let rest = [a, int, b, pointer, c, pointer];
            maker.add("", kind::PROTOTYPE << 24 | 3, int, &rest)
        };
        maker.add("security_it", kind::FUNCTION << 24, prototype, &[]);
        maker
    }

    #[test]
    fn fields_are_found_in_unnamed_members_and_behind_names_of_types() {
        let btf = Btf::parse(sample().bytes()).unwrap();
        let at = |offset| Field { offset, size: 4 };
        assert_eq!(btf.field("inode", "i_mode"), Ok(at(0)));
        assert_eq!(btf.field("inode", "i_a"), Ok(at(8)));
        assert_eq!(btf.field("inode", "i_b"), Ok(at(12)));
        assert_eq!(btf.field("inode", "i_uid.val"), Ok(at(16)));
        let error = btf.field("inode", "i_dax").unwrap_err();
        assert_eq!(error.why, "its struct inode has no field i_dax");
        assert!(!btf.has("file", "f_inode"));
    }

    #[test]
    fn parameters_are_found_by_what_they_point_to() {
        let btf = Btf::parse(sample().bytes()).unwrap();
        let function = btf.function("security_it").unwrap();
        assert_eq!(function.id, 10);
        assert_eq!(function.pointer_to("inode", 0), Some(1));
        assert_eq!(function.pointer_to("inode", 1), Some(2));
        assert_eq!(function.pointer_to("inode", 2), None);
        assert_eq!(function.pointer_to("file", 0), None);
        assert_eq!(function.named("mode"), Some(0));
        assert_eq!(btf.function("security_other"), None);
    }

    #[test]
    fn bit_fields_that_begin_inside_a_byte_are_not_loaded() {
        let mut maker = Maker::new();
        let int = maker.plain(kind::INT, "int", 4);
        let members: Vec<u32> = [("a", 1 << 24), ("b", 1 << 24 | 1), ("c", 32)]
            .iter()
            .flat_map(|&(name, offset)| [maker.name(name), int, offset])
            .collect();
        maker.add("fa", 1 << 31 | kind::STRUCT << 24 | 3, 8, &members);
        let btf = Btf::parse(maker.bytes()).unwrap();
        assert_eq!(btf.field("fa", "a").unwrap().offset, 0);
        assert!(btf.field("fa", "b").is_err());
        assert_eq!(btf.field("fa", "c").unwrap().offset, 4);
    }

    #[test]
    fn whatever_is_cut_off_or_wrong_is_refused() {
        let bytes = sample().bytes();
        for length in 0..bytes.len() {
            assert!(Btf::parse(bytes[..length].to_vec()).is_none(), "{length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                // Whatever it says, it comes to an end.
                if let Some(btf) = Btf::parse(wrong) {
                    let _ = btf.field("inode", "i_uid.val");
                    let _ = btf.function("security_it");
                }
            }
        }
    }

    #[test]
    fn a_circle_of_types_ends() {
        let mut maker = Maker::new();
        maker.plain(kind::TYPEDEF, "a", 2);
        maker.plain(kind::TYPEDEF, "b", 1);
        maker.structure(kind::STRUCT, "s", 8, &[("", 3, 0), ("m", 1, 0)]);
        let btf = Btf::parse(maker.bytes()).unwrap();
        assert!(!btf.has("s", "other"));
        assert!(!btf.has("s", "m"));
    }

    #[test]
    fn this_machine_s_kernel_is_read_if_it_describes_itself() {
        if !std::path::Path::new(PATH).exists() {
            return;
        }
        let btf = Btf::of_kernel().unwrap();
        for (of, path) in [
            ("file", "f_inode"),
            ("dentry", "d_inode"),
            ("inode", "i_sb"),
            ("inode", "i_ino"),
        ] {
            assert_eq!(btf.field(of, path).unwrap().size, 8, "{of}.{path}");
        }
        assert_eq!(btf.field("inode", "i_generation").unwrap().size, 4);
        assert_eq!(btf.field("super_block", "s_dev").unwrap().size, 4);
    }
}
