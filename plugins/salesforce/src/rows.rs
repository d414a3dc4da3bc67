//! Records as Salesforce answers them, and as rows of a change set.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use tidegate_sdk::{ChangeSet, ChangeSetBuilder, DataType, Fault, Level};

use crate::id;
use crate::org::Org;
use crate::shape::{MISFIT, Misfits, Shape};
use crate::soql::Position;
use crate::stamp;

/// One page of a query's answer. Records stay text until it is clear that they are news.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answered {
    pub(crate) done: bool,
    #[serde(default)]
    pub(crate) next_records_url: Option<String>,
    pub(crate) records: Vec<Box<RawValue>>,
}

/// One record.
pub(crate) struct Record {
    pub(crate) id: String,
    /// The stamp as Salesforce wrote it, which is the record's version.
    pub(crate) version: String,
    pub(crate) stamp_us: i64,
    pub(crate) deleted: bool,
    /// The record that this one was merged into.
    pub(crate) master: Option<String>,
    fields: Map<String, Json>,
}

impl Record {
    pub(crate) fn read(raw: &RawValue, shape: &Shape) -> Result<Self, Fault> {
        let fields = serde_json::from_str(raw.get())
            .map_err(|_| broken("a record that is not a JSON object"))?;
        Self::of(fields, shape)
    }

    /// From its fields by name.
    pub(crate) fn of(fields: Map<String, Json>, shape: &Shape) -> Result<Self, Fault> {
        let text = |name: &str| fields.get(name).and_then(Json::as_str);
        let id = text("Id").ok_or_else(|| broken("a record without Id"))?;
        let version = text(&shape.stamp)
            .ok_or_else(|| broken(&format!("a record without {}", shape.stamp)))?;
        let stamp_us = stamp::parse(version)
            .ok_or_else(|| broken(&format!("a {} that is no date and time", shape.stamp)))?;
        Ok(Self {
            id: id::canonical(id),
            version: version.to_owned(),
            stamp_us,
            deleted: fields.get("IsDeleted") == Some(&Json::Bool(true)),
            master: text("MasterRecordId").map(id::canonical),
            fields,
        })
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            stamp_us: self.stamp_us,
            id: self.id.clone(),
        }
    }
}

fn broken(what: &str) -> Fault {
    Fault::broken(
        "record-unreadable",
        format!("Salesforce answered a query with {what}"),
    )
}

/// Change-set rows of one object.
pub(crate) struct Rows<'a> {
    org: &'a Org<'a>,
    object: &'a str,
    shape: &'a Shape,
    misfits: Misfits,
    pub(crate) set: ChangeSetBuilder,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        org: &'a Org<'a>,
        object: &'a str,
        shape: &'a Shape,
        misfits: Misfits,
    ) -> Self {
        let columns: Vec<(&str, DataType)> = shape
            .columns
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.data_type()))
            .collect();
        Self {
            org,
            object,
            shape,
            misfits,
            set: ChangeSetBuilder::new(object, columns),
        }
    }

    /// As a page holds them: no set when there are no rows.
    pub(crate) fn changes(self) -> Vec<ChangeSet> {
        match self.set.is_empty() {
            true => Vec::new(),
            false => vec![self.set.finish()],
        }
    }

    pub(crate) fn object(&self) -> &str {
        self.object
    }

    /// The record as it is now. A field that the answer lacks stays unset.
    pub(crate) fn upsert(&mut self, record: &Record) -> Result<(), Fault> {
        let mut row = self
            .set
            .upsert(&record.id, &record.version, record.stamp_us);
        for (index, (name, kind)) in self.shape.columns.iter().enumerate() {
            let Some(json) = record.fields.get(name) else {
                continue;
            };
            let put = kind.read(json, |value| row.set_at(index, value).is_ok());
            if put == Some(true) {
                continue;
            }
            let line = format!(
                "{} {}: {name} holds what a field of type {} can't hold",
                self.object,
                record.id,
                kind.data_type()
            );
            match self.misfits {
                Misfits::Refuse => return Err(Fault::broken(MISFIT, line)),
                Misfits::LeaveOut => {
                    let line = line + "; the field is left alone";
                    self.org.gateway.log(Level::Warn, &line);
                }
            }
        }
        Ok(())
    }
}
