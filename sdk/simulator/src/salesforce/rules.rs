//! What a row has to satisfy before it is written.

use serde_json::{Map, Value};

use super::answer::{Refusal, RowError};
use super::cell::Cell;
use super::id::Id;
use super::schema::{Field, Kind, Object, Source};
use super::table::Row;
use super::transaction::Transaction;

impl Transaction<'_> {
    /// The cells that a body sets.
    pub(super) fn changes(
        &self,
        table: usize,
        fields: &Map<String, Value>,
    ) -> Result<Vec<(usize, Cell)>, Refusal> {
        let object = &self.table(table).object;
        let mut changes = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            if name == "attributes" || name.eq_ignore_ascii_case("id") {
                continue;
            }
            if let Some(change) = self.parent_by_key(object, name, value)? {
                changes.push(change);
                continue;
            }
            let field = object.field(name).ok_or_else(|| {
                let message = format!("No such column '{name}' on sobject of type {}", object.name);
                RowError::field("INVALID_FIELD", message, name)
            })?;
            match field.source {
                Source::Cell(cell) if field.writable => {
                    changes.push((cell, Cell::read(field, value, self.org.habits())?));
                }
                _ => return Err(not_writable(field).into()),
            }
        }
        Ok(changes)
    }

    /// `"Account": {"Tidegate_Id__c": "7"}` sets `AccountId` to the account with that key.
    fn parent_by_key(
        &self,
        object: &Object,
        name: &str,
        value: &Value,
    ) -> Result<Option<(usize, Cell)>, Refusal> {
        let Some(key) = value.as_object() else {
            return Ok(None);
        };
        let Some(link) = object.fields.iter().find(|field| {
            field
                .relationship()
                .is_some_and(|relationship| relationship.eq_ignore_ascii_case(name))
        }) else {
            return Ok(None);
        };
        let (Kind::Reference { to }, Source::Cell(cell)) = (&link.kind, link.source) else {
            return Ok(None);
        };
        let mut keys = key.iter().filter(|(name, _)| *name != "attributes");
        let (Some((key, value)), None) = (keys.next(), keys.next()) else {
            let message = format!("Only one external id field may name the parent in {name}");
            return Err(RowError::field("INVALID_FIELD", message, name).into());
        };
        let parents = self.table(self.org.table(to)?);
        let field = parents
            .object
            .field(key)
            .filter(|field| field.external_id)
            .ok_or_else(|| {
                let message = format!("No such external id field '{key}' on {to}");
                RowError::field("INVALID_FIELD", message, key)
            })?;
        let wanted = Cell::read(field, value, self.org.habits())?;
        let Source::Cell(key_cell) = field.source else {
            return Ok(None);
        };
        match parents.holders(key_cell, &wanted) {
            [id] => Ok(Some((cell, Cell::Link(*id)))),
            _ => {
                let message = format!(
                    "Foreign key external ID: {value} not found for field {} in entity {to}",
                    field.name
                );
                Err(RowError::field("INVALID_FIELD", message, &field.name).into())
            }
        }
    }

    /// Everything but the duplicate rule; `id` is the row's own, if it exists already.
    pub(super) fn check(
        &mut self,
        table: usize,
        id: Option<Id>,
        row: &Row,
    ) -> Result<(), RowError> {
        self.check_locks(table, row)?;
        let object = &self.table(table).object;
        let cells = row.cells.open();
        let mut missing = Vec::new();
        for field in &object.fields {
            let Source::Cell(cell) = field.source else {
                continue;
            };
            let value = &cells[cell];
            if field.required && *value == Cell::Null {
                missing.push(field.name.clone());
            }
            if field.unique {
                self.check_unique(table, field, cell, value, id)?;
            }
            if let (Kind::Reference { to }, Cell::Link(parent)) = (&field.kind, value) {
                self.check_parent(field, to, *parent)?;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        Err(RowError {
            fields: missing,
            ..RowError::new("REQUIRED_FIELD_MISSING", message)
        })
    }

    fn check_unique(
        &self,
        table: usize,
        field: &Field,
        cell: usize,
        value: &Cell,
        id: Option<Id>,
    ) -> Result<(), RowError> {
        let holders = self.table(table).holders(cell, value);
        let Some(other) = holders.iter().find(|holder| Some(**holder) != id) else {
            return Ok(());
        };
        let message = format!(
            "duplicate value found: {} duplicates value on record with id: {other}",
            field.name
        );
        Err(RowError::field("DUPLICATE_VALUE", message, &field.name))
    }

    fn check_parent(&self, field: &Field, to: &str, parent: Id) -> Result<(), RowError> {
        let place = self.org.table(to).ok();
        let known = place.map(|place| self.table(place));
        if known.is_some_and(|table| !table.object.holds(parent)) {
            let message = format!("{}: id value of incorrect type: {parent}", field.label);
            return Err(RowError::field("MALFORMED_ID", message, &field.name));
        }
        let live = known
            .and_then(|table| table.rows.get(&parent))
            .is_some_and(Row::live);
        if live {
            return Ok(());
        }
        let code = "INVALID_CROSS_REFERENCE_KEY";
        Err(RowError::field(
            code,
            "invalid cross reference id",
            &field.name,
        ))
    }

    /// The org's rule, where it has one: the same e-mail and last name is the same person.
    pub(super) fn check_duplicates(&self, table: usize, row: &Row) -> Result<(), RowError> {
        if !self.org.options.duplicate_rule || self.began.allow_duplicates {
            return Ok(());
        }
        let table = self.table(table);
        let (Some(email), Some(last)) = (table.object.cell("Email"), table.object.cell("LastName"))
        else {
            return Ok(());
        };
        let name = row.cells.get(last);
        let twin = table
            .holders(email, &row.cells.get(email))
            .iter()
            .any(|id| table.rows[id].cells.get(last).order(&name).is_eq());
        if twin {
            let message = "Use one of these records?";
            return Err(RowError::new("DUPLICATES_DETECTED", message));
        }
        Ok(())
    }
}

fn not_writable(field: &Field) -> RowError {
    let message = format!(
        "Unable to create/update fields: {}. Please check the security settings of this field and \
         verify that it is read/write for your profile or permission set.",
        field.name
    );
    RowError::field("INVALID_FIELD_FOR_INSERT_UPDATE", message, &field.name)
}
