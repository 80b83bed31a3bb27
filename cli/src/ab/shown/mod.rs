//! What `daxshim ab` shows: on the terminal, as Markdown, as a page with plots.

pub mod html;
pub mod markdown;
mod plot;
pub mod progress;
mod rows;
mod scale;
pub mod text;
pub mod words;
