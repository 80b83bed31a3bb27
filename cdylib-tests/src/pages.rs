//! The documentation: its pages, and what is in them.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// A page.
pub struct Page {
    /// Relative to [`root`].
    pub name: String,
    /// Its Markdown.
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// Of its text.
    pub line: usize,
    /// What stands behind the fence: `sh`, `text`, …
    pub language: String,
    /// What is in it.
    pub text: String,
}

/// Every page: those of the root, of docs/ and of .github/.
///
/// # Errors
/// When one cannot be read.
pub fn all() -> std::io::Result<Vec<Page>> {
    fn collect(directory: &Path, deep: bool, pages: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() && deep {
                collect(&path, deep, pages)?;
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
        Ok(())
    }
    let root = root();
    let mut paths = Vec::new();
    collect(&root, false, &mut paths)?;
    for directory in ["docs", ".github"] {
        collect(&root.join(directory), true, &mut paths)?;
    }
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap_or(&path);
        Ok(Page {
            name: name.to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path)?,
        })
    };
    paths.into_iter().map(read).collect()
}

impl Page {
    fn events(&self) -> impl Iterator<Item = (Event<'_>, std::ops::Range<usize>)> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES).into_offset_iter()
    }

    /// The number of the line at a place of the text.
    fn line(&self, place: usize) -> usize {
        1 + self.text[..place].matches('\n').count()
    }

    /// Its fenced blocks, in order.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open = false;
        for (event, place) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    open = true;
                    blocks.push(Block {
                        line: self.line(place.start) + 1,
                        language: language.into_string(),
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => open = false,
                Event::Text(text) if open => {
                    if let Some(block) = blocks.last_mut() {
                        block.text.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        blocks
    }

    /// Code within sentences, with its line.
    #[must_use]
    pub fn words_of_code(&self) -> Vec<(usize, String)> {
        let code = |(event, place): (Event<'_>, std::ops::Range<usize>)| match event {
            Event::Code(text) => Some((self.line(place.start), text.into_string())),
            _ => None,
        };
        self.events().filter_map(code).collect()
    }

    /// Where its links lead, with their lines.
    #[must_use]
    pub fn links(&self) -> Vec<(usize, String)> {
        let link = |(event, place): (Event<'_>, std::ops::Range<usize>)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((self.line(place.start), dest_url.into_string()))
            }
            _ => None,
        };
        self.events().filter_map(link).collect()
    }

    /// The anchors of its headings, as forges make them.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors = Vec::new();
        let mut heading: Option<String> = None;
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H6 => {
                    heading = Some(String::new());
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let before = seen.entry(anchor.clone()).or_default();
                    anchors.push(match *before {
                        0 => anchor,
                        times => format!("{anchor}-{times}"),
                    });
                    *before += 1;
                }
                _ => {}
            }
        }
        anchors
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

/// The commands in a block of shell: of a transcript (`console`) those behind `$ `, else all lines;
/// what is continued on the next line, in one.
#[must_use]
pub fn commands(block: &Block) -> Vec<String> {
    let transcript = block.language == "console";
    let text = block.text.replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| match transcript {
        true => line.strip_prefix("$ "),
        false => Some(line),
    });
    lines.map(str::to_owned).collect()
}
