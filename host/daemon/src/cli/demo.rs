//! `tidegate demo`.

use super::exit::Exit;
use super::print::Terminal;
use super::runtime;
use crate::demo::{self, DemoArguments};

pub(super) fn run(arguments: &DemoArguments, terminal: &Terminal) -> Exit {
    let tell = |line: &str| terminal.note(format!("- {line}"));
    let played = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        let played = runtime.block_on(demo::run(arguments, &tell));
        runtime.shutdown_background();
        played
    });
    match played {
        Ok(report) => {
            terminal.answer(&report, ToString::to_string);
            if report.is_clean() {
                Exit::Done
            } else {
                Exit::Failed
            }
        }
        Err(error) => {
            terminal.failure("demo-failed", format!("{error:#}"));
            Exit::Failed
        }
    }
}
