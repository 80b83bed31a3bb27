//! Which files without a tag are watched: `DAXSHIM_WATCH`, a word or a pattern each line.
//!
//! In a pattern `*` stands for any bytes, `?` for one, `[a-z]` and `[!a-z]` for one of a set. One without a
//! slash is held against the file's name, any other against its whole path.

/// The word for all files that are mapped shared and writable.
pub const SHARED: &[u8] = b"shared";
/// The words for what is watched anyway.
pub const ALWAYS: [&[u8]; 2] = [b"tagged", b"dax"];

/// Why a file is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It is mapped, as others are: a lock file may be among them.
    Shared,
    /// A pattern names it: its content is meant to be durable.
    Named,
}

/// Whether what was asked holds for a file.
#[must_use]
pub fn why(asked: &[u8], path: &[u8]) -> Option<Watched> {
    let words = || asked.split(|byte| *byte == b'\n');
    if words().any(|word| is_pattern(word) && is_named(word, path)) {
        return Some(Watched::Named);
    }
    words()
        .any(|word| word == SHARED)
        .then_some(Watched::Shared)
}

/// Whether a line names files.
#[must_use]
pub fn is_pattern(word: &[u8]) -> bool {
    !word.is_empty() && word != SHARED && !ALWAYS.contains(&word)
}

fn is_named(pattern: &[u8], path: &[u8]) -> bool {
    let name = || path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    match pattern.contains(&b'/') {
        true => matches(pattern, path),
        false => matches(pattern, name()),
    }
}

/// Whether a pattern fits a text. Takes no memory, and at most the product of their lengths of time.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where the last `*` stood, and what it had not taken yet.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            star = Some((rest, text));
            pattern = rest;
            continue;
        }
        let fits = match text {
            [] if pattern.is_empty() => return true,
            [] => return false,
            [byte, rest @ ..] => one(pattern, *byte).map(|pattern| (pattern, rest)),
        };
        match (fits, star) {
            (Some(both), _) => (pattern, text) = both,
            (None, Some((behind, [_, rest @ ..]))) => {
                star = Some((behind, rest));
                (pattern, text) = (behind, rest);
            }
            (None, _) => return false,
        }
    }
}

/// What of the pattern is left, if its first element fits the byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => set(rest, byte),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// As [`one`], behind a `[`. A set without an end fits nothing.
fn set(mut pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let mut inverted = false;
    if let [b'!' | b'^', rest @ ..] = pattern {
        (inverted, pattern) = (true, rest);
    }
    let (mut found, mut is_first) = (false, true);
    loop {
        pattern = match pattern {
            [b']', rest @ ..] if !is_first => return (found != inverted).then_some(rest),
            [from, b'-', to, rest @ ..] if *to != b']' => {
                found |= (*from..=*to).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [] => return None,
        };
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcb", false),
            ("*a*b", "xaxbxb", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "a", false),
            ("*.db", "data.db", true),
            ("*.db", "data.dbx", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_names_and_shared_only_includes() {
        let asked = b"tagged\nshared\n*.db\n/data/*";
        assert_eq!(why(asked, b"/tmp/x/a.db"), Some(Watched::Named));
        assert_eq!(why(asked, b"/data/x"), Some(Watched::Named));
        assert_eq!(why(asked, b"/tmp/lock"), Some(Watched::Shared));
        assert_eq!(why(b"*.db", b"/tmp/lock"), None);
        assert_eq!(why(b"tagged\ndax", b"/tmp/tagged"), None);
        assert_eq!(why(b"", b"/tmp/lock"), None);
    }

    #[test]
    fn many_stars_end() {
        let pattern = "*a".repeat(30);
        assert!(!matches(pattern.as_bytes(), "a".repeat(29).as_bytes()));
    }
}
