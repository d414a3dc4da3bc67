//! What a call that reads rows knows of their object, and how it learns that anew.
//!
//! A plugin keeps nothing in memory, so a stream's cursor carries the shape. It is asked for again after a
//! while, when other fields are wanted, and whenever Salesforce's answers do not fit it.

use tidegate_sdk::{Fault, Level, Selection};

use crate::describe::Described;
use crate::kind::Kind;
use crate::org::{Age, Org};
use crate::soql;

/// The code of the fault that a value of another type than expected amounts to.
pub(crate) const MISFIT: &str = "value-misfits-type";

/// What to do with a value that its field's type can't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfits {
    /// Give up: the type may have changed.
    Refuse,
    /// The type is certain, so the value is at fault: count it as not sent, and say so.
    LeaveOut,
}

/// What a call that reads rows needs to know of their object, for the fields that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) stamp: String,
    pub(crate) has_deleted: bool,
    pub(crate) has_master: bool,
    pub(crate) replicateable: bool,
    pub(crate) columns: Vec<(String, Kind)>,
    /// Asked for, but not there or not to be seen: never reported, so never mistaken for empty.
    pub(crate) hidden: Vec<String>,
}

impl Shape {
    pub(crate) fn new(described: &Described, selection: &Selection) -> Result<Self, Fault> {
        let stamp = described.stamp().ok_or_else(|| {
            Fault::config(
                "no-modified-stamp",
                format!(
                    "{} has neither SystemModstamp nor LastModifiedDate, so its rows have no version; it can't be synced",
                    described.name
                ),
            )
        })?;
        let mut shape = Self {
            stamp: stamp.to_owned(),
            has_deleted: described.field("IsDeleted").is_some(),
            has_master: described.field("MasterRecordId").is_some(),
            replicateable: described.replicateable,
            columns: Vec::new(),
            hidden: Vec::new(),
        };
        for name in &selection.fields {
            soql::check_name(name)?;
            match described.field(name) {
                Some(field) => shape.columns.push((name.clone(), field.kind())),
                None => shape.hidden.push(name.clone()),
            }
        }
        Ok(shape)
    }

    /// Whether it was made for these fields.
    pub(crate) fn fits(&self, fields: &[String]) -> bool {
        fields.len() == self.columns.len() + self.hidden.len()
            && fields.iter().all(|name| {
                self.columns.iter().any(|(column, _)| column == name) || self.hidden.contains(name)
            })
    }

    /// Every field that a query must select, each once: the record's id and version come along.
    pub(crate) fn selected(&self) -> Vec<&str> {
        let mut names = vec!["Id", self.stamp.as_str()];
        if self.has_deleted {
            names.push("IsDeleted");
        }
        if self.has_master {
            names.push("MasterRecordId");
        }
        let around = names.len();
        for (name, _) in &self.columns {
            if !names[..around].contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}

/// An attempt's result, and the shape that it went by.
pub(crate) struct Shaped<T> {
    pub(crate) result: T,
    pub(crate) shape: Shape,
    /// The shape was asked for during this call.
    pub(crate) fresh: bool,
}

/// Attempts a read with the shape that is `known`, or a recent one; once more with a new one when the
/// answer tells that fields were renamed, removed, hidden or changed their type.
pub(crate) fn shaped<T>(
    org: &Org<'_>,
    selection: &Selection,
    known: Option<&Shape>,
    attempt: &dyn Fn(&Shape, Misfits) -> Result<T, Fault>,
) -> Result<Shaped<T>, Fault> {
    let (shape, fresh) = match known {
        Some(shape) => (shape.clone(), false),
        None => (learn(org, selection, Age::Recent)?, true),
    };
    match attempt(&shape, Misfits::Refuse) {
        Ok(result) => Ok(Shaped {
            result,
            shape,
            fresh,
        }),
        Err(fault) if matches!(fault.code.as_str(), "INVALID_FIELD" | MISFIT) => {
            let shape = learn(org, selection, Age::Now)?;
            Ok(Shaped {
                result: attempt(&shape, Misfits::LeaveOut)?,
                shape,
                fresh: true,
            })
        }
        Err(fault) => Err(fault),
    }
}

fn learn(org: &Org<'_>, selection: &Selection, age: Age) -> Result<Shape, Fault> {
    let object = soql::check_name(&selection.object)?;
    let request = org.describe_as_of(object, age);
    let described = org.ask::<Described>(request, &format!("the describe of {object}"))?;
    of(org, &described.body, selection)
}

/// The shape that a describe gives, with a warning for what it does not show.
pub(crate) fn of(
    org: &Org<'_>,
    described: &Described,
    selection: &Selection,
) -> Result<Shape, Fault> {
    let shape = Shape::new(described, selection)?;
    if !shape.hidden.is_empty() {
        let line = format!(
            "{}: fields {} do not exist or may not be seen by the run-as user; they are left alone until they appear",
            selection.object,
            shape.hidden.join(", ")
        );
        org.gateway.log(Level::Warn, &line);
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTACT: &str = include_str!("../tests/cases/describe-contact.json");

    #[test]
    fn a_field_that_is_not_there_is_left_out_of_the_query() {
        let described: Described = serde_json::from_str(CONTACT).expect("a describe");
        let selection = Selection {
            object: "Contact".to_owned(),
            fields: ["Id", "Email", "Gone__c", "Score__c"]
                .map(str::to_owned)
                .to_vec(),
        };
        let shape = Shape::new(&described, &selection).expect("a shape");
        assert_eq!(
            shape.selected(),
            [
                "Id",
                "SystemModstamp",
                "IsDeleted",
                "MasterRecordId",
                "Email",
                "Score__c"
            ]
        );
        assert_eq!(shape.hidden, ["Gone__c"]);
        assert!(shape.fits(&selection.fields));
        assert!(!shape.fits(&selection.fields[..2]));
    }
}
