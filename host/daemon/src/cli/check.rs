//! `tidegate check`: everything that is wrong, at once, with its place.

use std::path::Path;

use serde::Serialize;

use super::exit::Exit;
use super::print::Terminal;
use crate::config;
use crate::config::problem::{Problem, Severity};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Ask no endpoint: only what the file and the plugins tell.
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    problems: Vec<Problem>,
}

pub(super) fn run(path: &Path, arguments: &CheckArguments, terminal: &Terminal) -> Exit {
    let config::Loaded { config, findings } = config::load(path);
    config::credentials(&config, &findings);
    let problems = findings.into_problems();
    let count = |severity| {
        problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    };
    let report = Report {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        problems,
    };
    terminal.answer(&report, text);
    if report.errors == 0 {
        Exit::Done
    } else {
        Exit::Usage
    }
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.problems.iter().map(Problem::to_string).collect();
    lines.push(match (report.errors, report.warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
    });
    lines.join("\n")
}
