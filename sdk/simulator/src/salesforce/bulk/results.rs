//! What became of a job's rows, as CSV: neither rows nor columns are in the order in which they were sent.

use std::borrow::Cow;

use csv::{QuoteStyle, StringRecord, Terminator, WriterBuilder};

use super::Outcomes;
use super::job::{Job, LineEnding};
use super::sheet::Sheet;
use super::work::{Outcome, Progress};
use crate::salesforce::answer::{Answer, ApiError};
use crate::salesforce::batch::ROWS_MAX;
use crate::salesforce::faults::{Fault, Faults};

/// A row of the file that goes wrong on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Slip {
    Missing(usize),
    Twice(usize),
}

pub(super) fn file(job: &Job, which: Outcomes, faults: &mut Faults) -> Result<Answer, ApiError> {
    let broken = |error: &dyn std::fmt::Display| {
        ApiError::new(500, "UNKNOWN_EXCEPTION", format!("results: {error}"))
    };
    let mut lines = WriterBuilder::new()
        .delimiter(job.head.delimiter.byte())
        .quote_style(QuoteStyle::Always)
        .terminator(match job.head.line_ending {
            LineEnding::Lf => Terminator::Any(b'\n'),
            LineEnding::Crlf => Terminator::CRLF,
        })
        .flexible(true)
        .from_writer(Vec::new());
    let own: &[&str] = match which {
        Outcomes::Successful => &["sf__Id", "sf__Created"],
        Outcomes::Failed => &["sf__Id", "sf__Error"],
        Outcomes::Unprocessed => &[],
    };
    let unread;
    let (sheet, progress) = match (&job.progress, &job.content) {
        (Some(progress), _) => (&progress.sheet, Some(progress)),
        (None, Some(content)) => {
            // The job ended before it began: its rows are all unprocessed, whatever is wrong with them.
            match Sheet::open(content.clone(), job.head.delimiter, job.head.line_ending) {
                Ok(sheet) => {
                    unread = sheet;
                    (&unread, None)
                }
                Err(_) if which == Outcomes::Unprocessed => {
                    let text = String::from_utf8_lossy(content).into_owned();
                    return Ok(Answer::text(200, "text/csv", text));
                }
                Err(_) => return Ok(Answer::text(200, "text/csv", head(own))),
            }
        }
        (None, None) => return Ok(Answer::text(200, "text/csv", head(own))),
    };
    let columns = sheet.header.iter().rev().map(String::as_str);
    lines
        .write_record(own.iter().copied().chain(columns))
        .map_err(|error| broken(&error))?;
    let count = count(which, progress);
    let slip = count.and_then(|count| slip(faults, count));
    let mut told = 0;
    let mut tell = |own: [Cow<'_, str>; 2], row: &StringRecord| -> Result<(), csv::Error> {
        let mut cells: Vec<&str> = row.iter().collect();
        if which != Outcomes::Unprocessed {
            cells.extend(own.iter().rev().map(AsRef::as_ref));
        }
        cells.reverse();
        if slip != Some(Slip::Missing(told)) {
            lines.write_record(&cells)?;
        }
        if slip == Some(Slip::Twice(told)) {
            lines.write_record(&cells)?;
        }
        told += 1;
        Ok(())
    };
    match which {
        Outcomes::Unprocessed => unprocessed(sheet, progress, &mut tell),
        _ => processed(which, progress, &mut tell),
    }
    .map_err(|error| broken(&error))?;
    let bytes = lines.into_inner().map_err(|error| broken(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| broken(&error))?;
    Ok(Answer::text(200, "text/csv", text))
}

fn head(own: &[&str]) -> String {
    if own.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = own.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(",") + "\n"
}

/// How many rows the file has; of the unprocessed ones that is not known without reading them.
fn count(which: Outcomes, progress: Option<&Progress>) -> Option<usize> {
    let progress = progress?;
    match which {
        Outcomes::Successful => Some(progress.outcomes.len() - progress.failed),
        Outcomes::Failed => Some(progress.failed),
        Outcomes::Unprocessed => None,
    }
}

fn slip(faults: &mut Faults, rows: usize) -> Option<Slip> {
    if rows == 0 {
        return None;
    }
    let place = |faults: &mut Faults| usize::try_from(faults.draw(rows as u64)).unwrap_or(0);
    if faults.strikes(Fault::JobRowMissing) {
        return Some(Slip::Missing(place(faults)));
    }
    if faults.strikes(Fault::JobRowTwice) {
        return Some(Slip::Twice(place(faults)));
    }
    None
}

type Tell<'t> = dyn FnMut([Cow<'_, str>; 2], &StringRecord) -> Result<(), csv::Error> + 't;

fn processed(
    which: Outcomes,
    progress: Option<&Progress>,
    tell: &mut Tell<'_>,
) -> Result<(), csv::Error> {
    let Some(progress) = progress else {
        return Ok(());
    };
    let sheet = &progress.sheet;
    let id_column = sheet
        .header
        .iter()
        .position(|name| name.eq_ignore_ascii_case("id"));
    for chunk in scrambled(progress.chunks.len()) {
        let stretch = sheet.read(progress.chunks[chunk], ROWS_MAX);
        let from = chunk * ROWS_MAX;
        let outcomes = progress.outcomes.get(from..).unwrap_or_default();
        for (row, outcome) in stretch.rows.iter().zip(outcomes).rev() {
            let own = match outcome {
                Outcome::Created(id) | Outcome::Written(id) if which == Outcomes::Successful => {
                    let created = matches!(outcome, Outcome::Created(_));
                    [id.to_string().into(), created.to_string().into()]
                }
                Outcome::Refused(error) if which == Outcomes::Failed => {
                    let id = id_column.and_then(|column| row.get(column));
                    [id.unwrap_or_default().into(), error.as_ref().into()]
                }
                _ => continue,
            };
            tell(own, row)?;
        }
    }
    Ok(())
}

fn unprocessed(
    sheet: &Sheet,
    progress: Option<&Progress>,
    tell: &mut Tell<'_>,
) -> Result<(), csv::Error> {
    let done = progress.map_or(0, |progress| progress.outcomes.len());
    let mut from = match progress {
        Some(progress) if done / ROWS_MAX < progress.chunks.len() => {
            progress.chunks[done / ROWS_MAX]
        }
        Some(progress) => progress.next,
        None => sheet.start,
    };
    let mut skip = done % ROWS_MAX;
    loop {
        let stretch = sheet.read(from, ROWS_MAX);
        if stretch.rows.is_empty() {
            return Ok(());
        }
        for row in stretch.rows.iter().skip(skip).rev() {
            tell([Cow::default(), Cow::default()], row)?;
        }
        skip = 0;
        from = stretch.next;
    }
}

/// Every number below `count` once, in an order that is not theirs.
fn scrambled(count: usize) -> impl Iterator<Item = usize> {
    let mut step = (count * 5 / 8).max(1);
    while common_divisor(step, count.max(1)) != 1 {
        step += 1;
    }
    (0..count).map(move |place| (place * step + count / 2) % count)
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
