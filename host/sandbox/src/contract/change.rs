//! Changes and records that a connector reports.

use std::collections::HashSet;

use tidegate_core::batch::{Batch, Packed};
use tidegate_core::plugin::{
    Alias, ChangeKind, ChangeSet, ChangeStream, Fault, Page, Received, Selection,
};

use super::{broken, twice};
use crate::call::CallError;
use crate::limits::{Breach, Knob};

/// How many rows an answer may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowsMax {
    /// What the caller asked for.
    pub(crate) asked: u64,
    /// What the operator allows, `output-rows-max`.
    pub(crate) limit: u64,
}

impl RowsMax {
    pub(crate) fn check(self, rows: usize) -> Result<(), CallError> {
        let rows = rows as u64;
        if rows > self.limit {
            let what = format!("the answer has {rows} rows and may have {}", self.limit);
            return Err(CallError::breach(Breach::new(Knob::OutputRows, what)));
        }
        if rows > self.asked {
            return broken(
                "too-many-rows",
                format!("{rows} rows came where {} were asked for", self.asked),
            );
        }
        Ok(())
    }
}

/// What `read` was asked for.
pub(crate) struct Asked {
    pub(crate) selection: Selection,
    pub(crate) by: Option<String>,
    pub(crate) keys: Packed,
}

/// The host keeps these with every record, so that a plugin must not make them as large as it likes.
pub(super) const ID_BYTES_MAX: usize = 1_024;
/// Cursors: positions, not data.
pub(super) const POSITION_BYTES_MAX: usize = 64 * 1_024;
/// The states of jobs, which name rows. A batch of the store has room for one.
pub(super) const JOB_BYTES_MAX: usize = 512 * 1_024;

/// The layout that every change set has, wherever it comes from.
pub(super) fn change_set(set: &ChangeSet) -> Result<(), CallError> {
    let rows = set.batch.rows;
    let lengths = [
        ("ids", set.ids.len()),
        ("kinds", set.kinds.len()),
        ("versions", set.versions.len()),
        ("committed", set.committed.len()),
    ];
    for (name, found) in lengths {
        if found != rows {
            let message = format!("{}: {found} {name} for {rows} rows", set.object);
            return broken("row-count", message);
        }
    }
    let layout = (set.ids.check("ids"))
        .and_then(|()| set.versions.check("versions"))
        .and_then(|()| set.batch.check());
    if let Err(error) = layout {
        return broken("batch-invalid", format!("{}: {error}", set.object));
    }
    if let Some(row) = set
        .kinds
        .iter()
        .position(|kind| ChangeKind::from_byte(*kind).is_none())
    {
        let message = format!(
            "{}, row {row}: {} is no kind of change",
            set.object, set.kinds[row]
        );
        return broken("kind-unknown", message);
    }
    let bad_id =
        |id: &[u8]| id.is_empty() || id.len() > ID_BYTES_MAX || std::str::from_utf8(id).is_err();
    if let Some(row) = set.ids.iter().position(bad_id) {
        return broken(
            "id-invalid",
            format!(
                "{}, row {row}: the id is empty, not text, or longer than {ID_BYTES_MAX} bytes",
                set.object
            ),
        );
    }
    if let Some(row) = set
        .versions
        .iter()
        .position(|version| version.len() > ID_BYTES_MAX || std::str::from_utf8(version).is_err())
    {
        return broken(
            "version-invalid",
            format!(
                "{}, row {row}: the version is not text, or longer than {ID_BYTES_MAX} bytes",
                set.object
            ),
        );
    }
    Ok(())
}

/// Fields that were not selected: what the host never asked for it must not store.
fn only_fields(
    object: &str,
    batch: &Batch,
    fields: &[String],
    by: Option<&str>,
) -> Result<(), CallError> {
    let stranger = batch
        .columns
        .iter()
        .find(|column| !fields.contains(&column.name) && Some(column.name.as_str()) != by);
    match stranger {
        Some(column) => {
            let message = format!("{object}.{} came and was not asked for", column.name);
            broken("field-not-asked", message)
        }
        None => Ok(()),
    }
}

fn aliases(aliases: &[Alias]) -> Result<(), CallError> {
    match aliases.iter().find(|alias| {
        [&alias.old, &alias.new]
            .iter()
            .any(|id| id.is_empty() || id.len() > ID_BYTES_MAX)
    }) {
        Some(alias) => broken(
            "id-invalid",
            format!(
                "{}: an alias with an id that is empty or longer than {ID_BYTES_MAX} bytes",
                alias.object
            ),
        ),
        None => Ok(()),
    }
}

fn rows(sets: &[ChangeSet]) -> usize {
    sets.iter().map(|set| set.batch.rows).sum()
}

pub(crate) fn pages(
    streams: &[ChangeStream],
    pages: &[Result<Page, Fault>],
    rows_max: RowsMax,
) -> Result<(), CallError> {
    if pages.len() != streams.len() {
        let message = format!(
            "pull answered {} pages to {} streams",
            pages.len(),
            streams.len()
        );
        return broken("page-count", message);
    }
    let all: usize = pages.iter().flatten().map(|page| rows(&page.changes)).sum();
    rows_max.check(all)?;
    for (stream, answer) in streams.iter().zip(pages) {
        if let Ok(answer) = answer {
            page(stream, answer, rows_max.limit)?;
        }
    }
    Ok(())
}

fn page(stream: &ChangeStream, page: &Page, limit: u64) -> Result<(), CallError> {
    let asked = u64::from(stream.rows_max);
    RowsMax { asked, limit }.check(rows(&page.changes))?;
    for set in &page.changes {
        change_set(set)?;
        let selection = stream
            .selections
            .iter()
            .find(|selection| selection.object == set.object);
        let Some(selection) = selection else {
            let message = format!(
                "pull reports {}, which the stream does not select",
                set.object
            );
            return broken("object-not-asked", message);
        };
        only_fields(&set.object, &set.batch, &selection.fields, None)?;
    }
    aliases(&page.aliases)?;
    cursor(stream, page)
}

/// Equal to the one given only when nothing was read, or the same changes would come for ever.
fn cursor(stream: &ChangeStream, page: &Page) -> Result<(), CallError> {
    if page.cursor.len() > POSITION_BYTES_MAX {
        let message = format!(
            "a cursor of {} bytes; {POSITION_BYTES_MAX} are allowed",
            page.cursor.len()
        );
        return broken("cursor-too-large", message);
    }
    if stream.cursor.as_deref() != Some(page.cursor.as_slice()) {
        return Ok(());
    }
    if page.more || rows(&page.changes) > 0 || !page.aliases.is_empty() {
        let message = "pull read something and left its cursor where it was".to_owned();
        return broken("cursor-stands-still", message);
    }
    Ok(())
}

pub(crate) fn found(asked: &Asked, set: &ChangeSet, rows_max: RowsMax) -> Result<(), CallError> {
    let object = &asked.selection.object;
    if set.object != *object {
        let message = format!("read answered {} where {object} was asked for", set.object);
        return broken("object-not-asked", message);
    }
    rows_max.check(set.batch.rows)?;
    change_set(set)?;
    only_fields(
        object,
        &set.batch,
        &asked.selection.fields,
        asked.by.as_deref(),
    )?;
    if let Some(row) = set
        .kinds
        .iter()
        .position(|kind| *kind == ChangeKind::Hint as u8)
    {
        return broken(
            "hint-in-read",
            format!("read, row {row}: a hint is no answer"),
        );
    }
    match &asked.by {
        None => by_id(asked, set),
        Some(by) => by_field(by, asked, set),
    }
}

fn by_id(asked: &Asked, set: &ChangeSet) -> Result<(), CallError> {
    let wanted: HashSet<&[u8]> = asked.keys.iter().collect();
    if let Some(row) = set.ids.iter().position(|id| !wanted.contains(id)) {
        return broken(
            "id-not-asked",
            format!("read, row {row}: an id that was not asked for"),
        );
    }
    let ids = (0..set.ids.len()).map(|row| set.ids.text(row));
    match twice(ids) {
        Some(_) => broken("id-twice", "read answered one id twice".to_owned()),
        None => Ok(()),
    }
}

/// Without the field the host could not tell which key a row answers.
fn by_field(by: &str, asked: &Asked, set: &ChangeSet) -> Result<(), CallError> {
    let upserts = set.kinds.contains(&(ChangeKind::Upsert as u8));
    if upserts && set.batch.column(by).is_none() {
        let message = format!(
            "read by {}.{by} answered rows without that field",
            asked.selection.object
        );
        return broken("key-missing", message);
    }
    Ok(())
}

pub(crate) fn received(received: &Received, rows_max: RowsMax) -> Result<(), CallError> {
    rows_max.check(rows(&received.changes))?;
    for set in &received.changes {
        change_set(set)?;
    }
    aliases(&received.aliases)?;
    let status = received.acknowledgement.status;
    if !(200..=599).contains(&status) {
        return broken(
            "status-invalid",
            format!("receive wants to answer with status {status}"),
        );
    }
    Ok(())
}
