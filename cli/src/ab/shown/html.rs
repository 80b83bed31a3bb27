//! The comparison as one page that needs nothing else: no script, no font, no network.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot;
use super::rows::{self, Rows};
use super::words;
use crate::ab::comparison::{Comparison, Finding};

const STYLE: &str = include_str!("page.css");

/// A page can't even be made to load something.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page. Every text is escaped by maud, the style sheet alone is not.
pub fn page(comparison: &Comparison) -> String {
    let command = comparison.command.join(" ");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "daxshim " (comparison.version) };
                title { "Kernel sync against user flush: " (command) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Kernel sync against user flush" }
                    pre { code { (command) } }
                    (verdict(comparison))
                    p .soft { (rows::design(comparison)) "." }
                    @if let Some(stop) = &comparison.stopped {
                        p { strong { "It ended early: " } (prose(&stop.text)) }
                    }
                    (warnings(comparison))
                    (times(comparison))
                    (syncs(comparison))
                    (runs(comparison))
                }
            }
        }
    };
    page.into_string()
}

/// A sentence, in which no option is broken in two at the end of a line.
fn prose(text: &str) -> Markup {
    html! {
        @for (i, word) in text.split(' ').enumerate() {
            @if i > 0 { " " }
            @if word.starts_with("--") { span .option { (word) } } @else { (word) }
        }
    }
}

fn verdict(comparison: &Comparison) -> Markup {
    let verdict = &comparison.verdict;
    let class = match verdict.result {
        _ if verdict.failed => "bad",
        Finding::Faster => "good",
        Finding::Slower => "bad",
        Finding::NoDifference | Finding::NotAccelerated | Finding::Unknown => "odd",
    };
    html! {
        div class={ "verdict " (class) } {
            p { (prose(&verdict.text)) }
            @if let Some(conclusion) = &comparison.conclusion {
                @if verdict.result != Finding::NotAccelerated {
                    p { "In all runs of B, " (prose(&conclusion.text)) }
                }
            }
        }
    }
}

fn warnings(comparison: &Comparison) -> Markup {
    html! {
        @if !comparison.warnings.is_empty() {
            h2 { "Warnings" }
            ul .warnings {
                @for doubt in &comparison.warnings { li { (prose(&doubt.text)) } }
            }
        }
    }
}

fn times(comparison: &Comparison) -> Markup {
    html! {
        @if let Some(plot) = plot::ratios(comparison) {
            h2 { "Time of a run" }
            figure {
                (plot)
                figcaption {
                    "Each dot is the wall time of a run of B divided by that of its run of A; each \
                     square is a second run of A, the control, in the place of B. The plain band is the \
                     95 % interval of B/A; the hatched one is what A differs from itself by, in \
                     either direction: what lies in it is noise."
                }
            }
            (table(&rows::times(comparison)))
            p .soft { "Median and quartiles of each leg; the ratio is the geometric mean of the pairs." }
        }
    }
}

fn syncs(comparison: &Comparison) -> Markup {
    let legs = &comparison.legs;
    html! {
        @if let Some(rows) = rows::syncs(comparison) {
            h2 { "Sync calls on tagged files" }
            @for call in rows::calls(comparison) {
                @let a = legs.a.syncs.iter().find(|syncs| syncs.call == call);
                @let b = legs.b.syncs.iter().find(|syncs| syncs.call == call);
                @if let Some(plot) = plot::latencies(call, a, b, &comparison.settings.flush) {
                    h3 { (call) }
                    figure {
                        (plot)
                        figcaption {
                            "How long each call of " code { (call) } " took, from entry to return, in \
                             all runs: A above the line, B below; both axes are logarithmic. Dotted lines are medians."
                        }
                    }
                }
            }
            (table(&rows))
            @if let Some(saved) = rows::saved(comparison) { p { (saved) } }
        }
    }
}

fn runs(comparison: &Comparison) -> Markup {
    html! {
        @if !comparison.runs.is_empty() {
            details {
                summary { "All runs, in the order in which they were made" }
                div .scroll {
                    table {
                        thead { tr { @for name in ["run", "leg", "pair", "wall", "user", "system", "sync calls", "kernel calls"] {
                            th scope="col" { (name) }
                        } } }
                        tbody { @for (index, run) in comparison.runs.iter().enumerate() { tr {
                            td { (index + 1) }
                            td { (run.leg.word()) }
                            td { (run.pair) }
                            @for time in [run.wall_ns, run.user_ns, run.system_ns] { td { (words::time(time)) } }
                            td { (run.sync_calls) }
                            td { (run.kernel_entries) }
                        } } }
                    }
                }
            }
            p .soft { "daxshim " (comparison.version) }
        }
    }
}

fn table(rows: &Rows) -> Markup {
    html! {
        div .scroll {
            table {
                thead { tr { @for cell in &rows.header { th scope="col" { (cell) } } } }
                tbody { @for row in &rows.rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}
