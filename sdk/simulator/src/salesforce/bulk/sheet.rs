//! A job's file: CSV in, rows by their place in it, so that no row is kept twice.

use axum::body::Bytes;
use csv::{Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value, json};

use super::job::{Delimiter, LineEnding, Operation};
use crate::salesforce::batch::Fields;
use crate::salesforce::schema::{Kind, Object};

const COLUMNS_MAX: usize = 5_000;
const FIELD_CHARS_MAX: usize = 131_072;
const RECORD_CHARS_MAX: usize = 400_000;

/// Stands for an empty value; a cell without anything in it changes nothing.
const NULL: &str = "#N/A";

#[derive(Debug)]
pub(super) struct Sheet {
    content: Bytes,
    delimiter: u8,
    pub(super) header: Vec<String>,
    /// Where the first row begins.
    pub(super) start: usize,
}

/// Some rows in the order of the file, and where the next one begins.
pub(super) struct Stretch {
    pub(super) rows: Vec<StringRecord>,
    pub(super) next: usize,
}

impl Sheet {
    /// Reads the header; what is wrong with it is in the words that a failed job has for it.
    pub(super) fn open(
        content: Bytes,
        delimiter: Delimiter,
        line_ending: LineEnding,
    ) -> Result<Self, String> {
        let first_line = content.split_inclusive(|byte| *byte == b'\n').next();
        let line = first_line.unwrap_or_default();
        let matches = match line_ending {
            _ if !line.ends_with(b"\n") => true,
            LineEnding::Lf => !line.ends_with(b"\r\n"),
            LineEnding::Crlf => line.ends_with(b"\r\n"),
        };
        if !matches {
            return Err(format!(
                "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {}",
                line_ending.name()
            ));
        }
        if std::str::from_utf8(&content).is_err() {
            return Err("ClientInputError : The file is not UTF-8".to_owned());
        }
        let mut sheet = Self {
            content,
            delimiter: delimiter.byte(),
            header: Vec::new(),
            start: 0,
        };
        let head = sheet.read(0, 1);
        sheet.start = head.next;
        let names = head.rows.first().map(|head| head.iter());
        sheet.header = names
            .into_iter()
            .flatten()
            .map(|name| name.trim().to_owned())
            .collect();
        match sheet.header.len() {
            0 => Err("InvalidBatch : The file has no header".to_owned()),
            1..=COLUMNS_MAX => Ok(sheet),
            _ => Err(format!(
                "InvalidBatch : More than {COLUMNS_MAX} columns in the file"
            )),
        }
    }

    fn reader(&self, from: usize) -> Reader<&[u8]> {
        ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(self.content.get(from..).unwrap_or_default())
    }

    /// At most so many rows from this place on, whatever they look like.
    pub(super) fn read(&self, from: usize, most: usize) -> Stretch {
        let mut reader = self.reader(from);
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        // All of it is in memory and UTF-8, so reading it can't fail.
        while rows.len() < most && matches!(reader.read_record(&mut record), Ok(true)) {
            rows.push(record.clone());
        }
        let read = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        Stretch {
            rows,
            next: from.saturating_add(read),
        }
    }

    /// What makes a job fail at this row.
    pub(super) fn check(&self, record: &StringRecord) -> Result<(), String> {
        let columns = self.header.len();
        if record.len() != columns {
            return Err(format!(
                "InvalidBatch : A row has {} columns where the header has {columns}",
                record.len()
            ));
        }
        let too_long = |text: &str, most| text.len() > most && text.chars().count() > most;
        if too_long(record.as_slice(), RECORD_CHARS_MAX)
            || record.iter().any(|cell| too_long(cell, FIELD_CHARS_MAX))
        {
            return Err("InvalidBatch : A field or a record in the file is too long".to_owned());
        }
        Ok(())
    }
}

/// What a column sets.
#[derive(Debug)]
pub(super) enum Column {
    Field {
        name: String,
        checkbox: bool,
    },
    /// A parent by its own key, as in `Account.Tidegate_Id__c`.
    Parent {
        link: String,
        relationship: String,
        key: String,
    },
}

/// The columns of a header, or why a job with such a header fails.
pub(super) fn columns(
    header: &[String],
    object: &Object,
    operation: Operation,
) -> Result<Vec<Column>, String> {
    let deletes = matches!(operation, Operation::Delete | Operation::HardDelete);
    if deletes && !(header.len() == 1 && header[0].eq_ignore_ascii_case("id")) {
        return Err("InvalidBatch : The 'delete' batch must contain only ids".to_owned());
    }
    let column = |name: &String| {
        column(name, object).ok_or_else(|| format!("InvalidBatch : Field name not found : {name}"))
    };
    header.iter().map(column).collect()
}

fn column(name: &str, object: &Object) -> Option<Column> {
    if let Some((relationship, key)) = name.split_once('.') {
        let link = object.visible().find(|field| {
            let own = field.relationship();
            own.is_some_and(|own| own.eq_ignore_ascii_case(relationship))
        })?;
        return Some(Column::Parent {
            link: link.name.clone(),
            relationship: relationship.to_owned(),
            key: key.to_owned(),
        });
    }
    let field = object.field(name)?;
    Some(Column::Field {
        name: field.name.clone(),
        checkbox: field.kind == Kind::Checkbox,
    })
}

/// A row as the body of a write has it.
pub(super) fn fields(columns: &[Column], record: &StringRecord) -> Fields {
    let mut fields = Map::new();
    for (column, text) in columns
        .iter()
        .zip(record)
        .filter(|(_, text)| !text.is_empty())
    {
        let null = text == NULL;
        match column {
            Column::Field { name, .. } | Column::Parent { link: name, .. } if null => {
                fields.insert(name.clone(), Value::Null);
            }
            Column::Field { name, checkbox } => {
                let flag = checkbox.then(|| flag(text)).flatten();
                fields.insert(name.clone(), flag.unwrap_or_else(|| json!(text)));
            }
            Column::Parent {
                relationship, key, ..
            } => {
                fields.insert(relationship.clone(), json!({ key: text }));
            }
        }
    }
    fields
}

fn flag(text: &str) -> Option<Value> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "on" | "1" => Some(json!(true)),
        "no" | "n" | "false" | "off" | "0" => Some(json!(false)),
        _ => None,
    }
}
