//! The rows of a push as the CSV file of a job.

use std::borrow::Cow;
use std::collections::HashSet;

use csv::WriterBuilder;
use tidegate_sdk::{Advice, Column, Fault, Group, OperationKind, RowOutcome, Values};

use super::job::{Row, Target, print};
use crate::kind::{self, NoCell};
use crate::lines::{self, Line};

/// Characters of one cell, and of all cells of a row (Bulk API 2.0, "Limits").
const CELL_CHARS_MAX: usize = 131_072;
const ROW_CHARS_MAX: usize = 400_000;

/// A group's rows, sorted by what can carry them.
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    /// The rows in the file.
    pub(super) rows: Vec<Row>,
    /// Rows with values that CSV can't say.
    pub(super) odd: Vec<Line>,
    /// The outcomes of rows that can't be sent at all.
    pub(super) refused: Vec<RowOutcome>,
}

/// Why a row is not in the file.
enum Unfit {
    Refused(RowOutcome),
    Odd(Line),
}

impl File {
    pub(super) fn of(group: &Group, target: &Target) -> Result<Self, Fault> {
        let columns: Vec<&Column> = match group.operation {
            OperationKind::Delete => Vec::new(),
            _ => group
                .batch
                .columns
                .iter()
                .filter(|column| column.name != target.column())
                .collect(),
        };
        let mut writer = WriterBuilder::new().from_writer(Vec::with_capacity(room(&columns)));
        let names = columns.iter().map(|column| column.name.as_str());
        writer
            .write_record(std::iter::once(target.column()).chain(names))
            .map_err(|_| unwritten())?;
        let mut file = Self {
            bytes: Vec::new(),
            rows: Vec::with_capacity(group.len()),
            odd: Vec::new(),
            refused: Vec::new(),
        };
        let mut prints = HashSet::with_capacity(group.len());
        for (index, token) in group.tokens.iter().copied().enumerate() {
            match cells(group, index, token, &columns) {
                Ok(cells) => {
                    let row = Row {
                        print: print(&cells[0]),
                        token,
                    };
                    if !prints.insert(row.print) {
                        file.refused.push(twice(token, target));
                        continue;
                    }
                    writer
                        .write_record(cells.iter().map(|cell| cell.as_bytes()))
                        .map_err(|_| unwritten())?;
                    file.rows.push(row);
                }
                Err(Unfit::Refused(outcome)) => file.refused.push(outcome),
                Err(Unfit::Odd(line)) => file.odd.push(line),
            }
        }
        file.bytes = writer.into_inner().map_err(|_| unwritten())?;
        Ok(file)
    }
}

/// Bytes that such columns take as text, roughly, so that the file is not moved while it grows.
fn room(columns: &[&Column]) -> usize {
    const KEY: usize = 40;
    const CELL: usize = 28;
    let rows = columns.first().map_or(0, |column| column.len());
    let cells = columns.iter().map(|column| match &column.values {
        Values::Decimal(packed)
        | Values::Text(packed)
        | Values::Bytes(packed)
        | Values::Json(packed) => packed.bytes.len() + 8 * rows,
        _ => CELL * rows,
    });
    KEY * rows + cells.sum::<usize>()
}

/// The row's cells, first the one that names its record.
fn cells<'a>(
    group: &'a Group,
    index: usize,
    token: u64,
    columns: &[&'a Column],
) -> Result<Vec<Cow<'a, str>>, Unfit> {
    let address = lines::address(group, index, token).map_err(Unfit::Refused)?;
    let own = match group.operation {
        OperationKind::Upsert => address.key,
        _ => address.id,
    };
    let odd = || match lines::line(group, index, token) {
        Ok(line) => Unfit::Odd(line),
        Err(outcome) => Unfit::Refused(outcome),
    };
    if own == kind::NULL_CELL {
        return Err(odd());
    }
    let mut chars = own.chars().count();
    let mut cells = Vec::with_capacity(1 + columns.len());
    cells.push(Cow::Owned(own));
    for column in columns {
        let cell = kind::cell(column.value(index)).map_err(|why| match why {
            NoCell::JsonOnly => odd(),
            NoCell::Unwritable(why) => Unfit::Refused(lines::unwritable(token, &column.name, why)),
        })?;
        let cell_chars = cell.chars().count();
        if cell_chars > CELL_CHARS_MAX {
            return Err(Unfit::Refused(too_long(token, &column.name, cell_chars)));
        }
        chars += cell_chars;
        cells.push(cell);
    }
    if chars > ROW_CHARS_MAX {
        let message = format!("the row has {chars} characters; a bulk job takes {ROW_CHARS_MAX}");
        let outcome = lines::refused(token, "row-too-long", None, message);
        return Err(Unfit::Refused(outcome));
    }
    Ok(cells)
}

fn too_long(token: u64, field: &str, chars: usize) -> RowOutcome {
    let message =
        format!("the value for {field} has {chars} characters; a bulk job takes {CELL_CHARS_MAX}");
    lines::refused(token, "value-too-long", Some(field), message)
}

/// Salesforce would refuse both rows of one key. The first is written; the second finds its record then.
fn twice(token: u64, target: &Target) -> RowOutcome {
    let column = target.column();
    let advice = match target.operation {
        OperationKind::Upsert => Advice::Adopt,
        _ => Advice::Retry,
    };
    RowOutcome::refused(
        token,
        "key-twice",
        format!("another row of the same job has the same {column}"),
        vec![column.to_owned()],
        advice,
    )
}

fn unwritten() -> Fault {
    Fault::broken(
        "rows-unwritable",
        "the rows could not be written as CSV, and nothing was sent; report this to the plugin's makers",
    )
}
