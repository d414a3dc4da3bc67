//! A sync as the merge sees it: its fields by number, and which fields hang together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::batch::{Batch, Column, DataType};
use crate::plugin::{Field, FieldType, Rule};
use crate::record::{FieldId, Sides};
use crate::sync::{ConflictPolicy, Side, SyncSpec};
use crate::value::{Value, fingerprint, may_equal};

/// One side's field names by number. Kept in the store; only ever grows, so that shadows stay readable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldTable {
    names: Vec<Box<str>>,
}

impl FieldTable {
    pub fn id(&self, name: &str) -> Option<FieldId> {
        let index = self.names.iter().position(|known| &**known == name)?;
        u16::try_from(index).ok().map(FieldId)
    }

    /// The number of a field, given now if it has none. `None` when all 65,536 are taken.
    pub fn intern(&mut self, name: &str) -> Option<FieldId> {
        if let Some(id) = self.id(name) {
            return Some(id);
        }
        let id = FieldId(u16::try_from(self.names.len()).ok()?);
        self.names.push(name.into());
        Some(id)
    }

    pub fn name(&self, field: FieldId) -> &str {
        self.names.get(usize::from(field.0)).map_or("", |name| name)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// A rule of the mapping, for the side that its inputs stand on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    pub source: Side,
    pub inputs: Vec<FieldId>,
    pub outputs: Vec<FieldId>,
}

#[derive(Clone, Debug, Default)]
struct SideFields {
    table: FieldTable,
    /// What `discover` says, by number; fields that are no longer mapped have none.
    known: BTreeMap<FieldId, Field>,
    key: Option<FieldId>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub spec: SyncSpec,
    pub rules: Vec<FieldRule>,
    /// Fields that name other records, in the order of the spec.
    pub references: Vec<Sides<FieldId>>,
    /// Fields by which records pair, in the order of the spec.
    pub pairs: Vec<Sides<Vec<FieldId>>>,
    /// Fields that ask for something, in the order of the spec.
    pub actions: Vec<Action>,
    fields: Sides<SideFields>,
}

/// Why a sync can't be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("{object} has no field {field} (or the credentials may not see it)")]
    NoField { object: String, field: String },
    #[error(
        "{object}: the mapping writes {field}, which is to say what is done with the record; let it be written there alone"
    )]
    ActionMapped { object: String, field: String },
    #[error("{object} has more than 65,536 fields")]
    TooManyFields { object: String },
    #[error("records can't pair by {left} and {right}: what they hold is never equal")]
    NeverEqual { left: String, right: String },
}

impl Model {
    /// Puts a sync together from the stored field tables, what `discover` says of each side's object, and
    /// the rules that the mapping describes. All problems are reported at once.
    pub fn new(
        spec: SyncSpec,
        tables: Sides<FieldTable>,
        schemas: &Sides<Vec<Field>>,
        rules: &[Rule],
    ) -> Result<Self, Vec<ModelError>> {
        let mut fields = Sides {
            left: SideFields {
                table: tables.left,
                ..SideFields::default()
            },
            right: SideFields {
                table: tables.right,
                ..SideFields::default()
            },
        };
        let mut problems = Vec::new();
        let mut number = |side: Side, name: &str| {
            let object = spec.side(side).object.to_string();
            let Some(field) = schemas[side].iter().find(|field| field.name == name) else {
                problems.push(ModelError::NoField {
                    object,
                    field: name.to_owned(),
                });
                return None;
            };
            let fields: &mut SideFields = &mut fields[side];
            let Some(id) = fields.table.intern(name) else {
                problems.push(ModelError::TooManyFields { object });
                return None;
            };
            fields.known.insert(id, field.clone());
            Some(id)
        };
        let mut numbered = Vec::with_capacity(rules.len());
        let mut references = Vec::with_capacity(spec.references.len());
        for rule in rules {
            let source = match rule.direction {
                crate::plugin::Direction::LeftToRight => Side::Left,
                crate::plugin::Direction::RightToLeft => Side::Right,
            };
            let inputs = rule
                .inputs
                .iter()
                .filter_map(|name| number(source, name))
                .collect();
            let outputs = rule
                .outputs
                .iter()
                .filter_map(|name| number(source.other(), name))
                .collect();
            numbered.push(FieldRule {
                source,
                inputs,
                outputs,
            });
        }
        // Carried by the host, but otherwise fields like those of a rule.
        for reference in &spec.references {
            let left = number(Side::Left, &reference.left);
            let right = number(Side::Right, &reference.right);
            let (Some(left), Some(right)) = (left, right) else {
                continue;
            };
            references.push(Sides { left, right });
            for source in Side::BOTH {
                let (input, output) = match source {
                    Side::Left => (left, right),
                    Side::Right => (right, left),
                };
                numbered.push(FieldRule {
                    source,
                    inputs: vec![input],
                    outputs: vec![output],
                });
            }
        }
        let mut actions = Vec::with_capacity(spec.actions.len());
        let mut mapped = Vec::new();
        for asked in &spec.actions {
            let Some(field) = number(asked.side, &asked.field) else {
                continue;
            };
            let writes = |rule: &FieldRule| {
                rule.source == asked.side.other() && rule.outputs.contains(&field)
            };
            if numbered.iter().any(writes) {
                mapped.push(ModelError::ActionMapped {
                    object: spec.side(asked.side).object.to_string(),
                    field: asked.field.to_string(),
                });
            }
            actions.push(Action {
                side: asked.side,
                field,
                does: asked.does,
                when: asked.when.clone(),
            });
            // What is settled of it stands in the shadow, like that of a field which feeds others.
            numbered.push(FieldRule {
                source: asked.side,
                inputs: vec![field],
                outputs: Vec::new(),
            });
        }
        for test in spec.lanes.iter().filter_map(|rule| rule.test.as_ref()) {
            let has = |side: Side| schemas[side].iter().any(|field| field.name == test.field);
            for side in Side::BOTH {
                // One that neither side has is told as missing on the left.
                if has(side) || (side == Side::Left && !has(Side::Right)) {
                    number(side, &test.field);
                }
            }
        }
        let mut keys = Sides::default();
        for side in Side::BOTH {
            if let Some(key) = &spec.side(side).key {
                keys[side] = number(side, key);
            }
        }
        let mut pairs = Vec::with_capacity(spec.pairs.len());
        for rule in &spec.pairs {
            pairs.push(Sides::new(|side| {
                let names = rule.side(side).iter();
                names.filter_map(|name| number(side, name)).collect()
            }));
        }
        problems.extend(never_equal(&spec, schemas));
        problems.extend(mapped);
        if !problems.is_empty() {
            problems.dedup();
            return Err(problems);
        }
        for side in Side::BOTH {
            fields[side].key = keys[side];
        }
        Ok(Self {
            spec,
            rules: numbered,
            references,
            pairs,
            actions,
            fields,
        })
    }

    pub fn tables(&self) -> Sides<FieldTable> {
        Sides::new(|side| self.fields[side].table.clone())
    }

    pub fn name(&self, side: Side, field: FieldId) -> &str {
        self.fields[side].table.name(field)
    }

    pub fn id(&self, side: Side, name: &str) -> Option<FieldId> {
        self.fields[side].table.id(name)
    }

    /// The field of `side` that holds the other side's id.
    pub fn key(&self, side: Side) -> Option<FieldId> {
        self.fields[side].key
    }

    pub fn field(&self, side: Side, field: FieldId) -> Option<&Field> {
        self.fields[side].known.get(&field)
    }

    /// The names to ask a side's connector for.
    pub fn selected(&self, side: Side) -> Vec<String> {
        self.fields[side]
            .known
            .keys()
            .map(|field| self.name(side, *field).to_owned())
            .collect()
    }

    /// What the mapping is told of a side's fields.
    pub fn field_types(&self, side: Side) -> Vec<FieldType> {
        self.fields[side].known.values().map(field_type).collect()
    }

    /// Whether the mapping reads or writes this field; keys are not mapped unless a rule names them.
    pub fn is_mapped(&self, side: Side, field: FieldId) -> bool {
        self.rules.iter().any(|rule| {
            let fields = if rule.source == side {
                &rule.inputs
            } else {
                &rule.outputs
            };
            fields.contains(&field)
        })
    }

    /// Whether what a side holds in this field is kept with the records that wait.
    pub fn is_kept(&self, side: Side, field: FieldId) -> bool {
        self.is_mapped(side, field) || self.pairs.iter().any(|rule| rule[side].contains(&field))
    }

    pub fn fingerprint(&self, side: Side, field: FieldId, value: &Value) -> u64 {
        let resolution_us = self
            .field(side, field)
            .and_then(|field| field.resolution_us)
            .unwrap_or(1);
        fingerprint(value.cell(), resolution_us)
    }

    pub fn conflict_policy(&self, side: Side, field: FieldId) -> ConflictPolicy {
        self.spec
            .field_conflicts
            .get(self.name(side, field))
            .copied()
            .unwrap_or(self.spec.conflict)
    }

    /// Fields of the other side that are computed from `field`.
    pub fn fed_by(&self, side: Side, field: FieldId) -> impl Iterator<Item = FieldId> {
        self.rules
            .iter()
            .filter(move |rule| rule.source == side && rule.inputs.contains(&field))
            .flat_map(|rule| rule.outputs.iter().copied())
    }

    /// Rows as columns, for a mapping or a push. Fields that no row has are left out.
    pub fn batch(&self, side: Side, rows: &[&[(FieldId, Value)]]) -> Batch {
        let mut fields: Vec<FieldId> = rows
            .iter()
            .flat_map(|row| row.iter().map(|(field, _)| *field))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        let columns = fields
            .into_iter()
            .map(|field| self.column(side, field, rows))
            .collect();
        Batch {
            rows: rows.len(),
            columns,
        }
    }

    fn column(&self, side: Side, field: FieldId, rows: &[&[(FieldId, Value)]]) -> Column {
        let values = || {
            rows.iter().map(|row| {
                // Rows are written in field order nearly always, so that a scan is short.
                row.iter()
                    .find(|(id, _)| *id == field)
                    .map(|(_, value)| value)
            })
        };
        let data_type = values()
            .flatten()
            .find_map(Value::data_type)
            .or_else(|| self.field(side, field).map(|field| field.data_type))
            .unwrap_or(DataType::Text);
        let mut column = Column::new(self.name(side, field), data_type);
        for value in values() {
            let cell = value.map_or(crate::batch::Cell::Unset, Value::cell);
            if !column.push(cell) {
                // A value from before the field's type changed: it is unknown, not empty.
                column.push(crate::batch::Cell::Unset);
            }
        }
        column
    }

    /// One row of a batch by field number. Columns that the sync does not know are passed over.
    pub fn row(
        &self,
        side: Side,
        batch: &Batch,
        columns: &[Option<FieldId>],
        row: usize,
    ) -> Vec<(FieldId, Value)> {
        debug_assert_eq!(batch.columns.len(), columns.len(), "columns of {side}");
        batch
            .columns
            .iter()
            .zip(columns)
            .filter_map(|(column, field)| Some(((*field)?, Value::from_cell(column.cell(row))?)))
            .collect()
    }

    /// The numbers of a batch's columns, in order.
    pub fn columns(&self, side: Side, batch: &Batch) -> Vec<Option<FieldId>> {
        batch
            .columns
            .iter()
            .map(|column| self.id(side, &column.name))
            .collect()
    }
}

/// Fields that a rule compares and that can't hold the same.
fn never_equal<'a>(
    spec: &'a SyncSpec,
    schemas: &'a Sides<Vec<Field>>,
) -> impl Iterator<Item = ModelError> + 'a {
    let field = |side: Side, name: &str| schemas[side].iter().find(|field| field.name == name);
    let compared = spec.pairs.iter();
    let compared = compared.flat_map(|rule| rule.left.iter().zip(&rule.right));
    compared.filter_map(move |(left, right)| {
        let types = (field(Side::Left, left)?, field(Side::Right, right)?);
        let comparable = may_equal(types.0.data_type, types.1.data_type);
        (!comparable).then(|| ModelError::NeverEqual {
            left: left.clone(),
            right: right.clone(),
        })
    })
}

pub fn field_type(field: &Field) -> FieldType {
    FieldType {
        name: field.name.clone(),
        data_type: field.data_type,
        nullable: field.nullable,
        length_max: field.length_max,
        scale: field.scale,
    }
}
