//! The host's records as a plugin's own, for plugins that run natively beside themselves in the sandbox.

use tidegate_core::batch::{Batch, Column, Packed, Values};
use tidegate_core::plugin::{Direction, FieldType, Mapped, MappingContext, RowError};

/// What the mapping is told.
///
/// # Panics
///
/// When the SDK lacks a type that the host has.
pub fn context(context: &MappingContext) -> tidegate_sdk::MappingContext {
    tidegate_sdk::MappingContext {
        config: context.config.clone(),
        left: context.left.iter().map(native_field).collect(),
        right: context.right.iter().map(native_field).collect(),
    }
}

pub fn direction(direction: Direction) -> tidegate_sdk::Direction {
    match direction {
        Direction::LeftToRight => tidegate_sdk::Direction::LeftToRight,
        Direction::RightToLeft => tidegate_sdk::Direction::RightToLeft,
    }
}

pub fn batch(batch: &Batch) -> tidegate_sdk::Batch {
    tidegate_sdk::Batch {
        rows: batch.rows as u32,
        columns: batch.columns.iter().map(native_column).collect(),
    }
}

/// The mapping's answer as the host would see it.
pub fn back(mapped: tidegate_sdk::Mapped) -> Mapped {
    Mapped {
        batch: Batch {
            rows: mapped.batch.rows as usize,
            columns: mapped.batch.columns.into_iter().map(host_column).collect(),
        },
        errors: mapped
            .errors
            .into_iter()
            .map(|error| RowError {
                row: error.row,
                field: error.field,
                rule: error.rule,
                code: error.code,
                message: error.message,
            })
            .collect(),
    }
}

fn native_field(field: &FieldType) -> tidegate_sdk::FieldType {
    tidegate_sdk::FieldType {
        name: field.name.clone(),
        data_type: tidegate_sdk::DataType::from_name(&field.data_type.to_string()).expect("a type"),
        nullable: field.nullable,
        length_max: field.length_max,
        scale: field.scale,
    }
}

fn native_column(column: &Column) -> tidegate_sdk::Column {
    use tidegate_sdk::Values as Native;
    let packed = |packed: &Packed| tidegate_sdk::Packed {
        bytes: packed.bytes.clone(),
        ends: packed.ends.clone(),
    };
    tidegate_sdk::Column {
        name: column.name.clone(),
        states: column.states.clone(),
        values: match &column.values {
            Values::Boolean(values) => Native::Boolean(values.clone()),
            Values::Integer(values) => Native::Integer(values.clone()),
            Values::Float(values) => Native::Float(values.clone()),
            Values::Timestamp(values) => Native::Timestamp(values.clone()),
            Values::Date(values) => Native::Date(values.clone()),
            Values::Decimal(values) => Native::Decimal(packed(values)),
            Values::Text(values) => Native::Text(packed(values)),
            Values::Bytes(values) => Native::Bytes(packed(values)),
            Values::Json(values) => Native::Json(packed(values)),
        },
    }
}

fn host_column(column: tidegate_sdk::Column) -> Column {
    use tidegate_sdk::Values as Native;
    let packed = |packed: tidegate_sdk::Packed| Packed {
        bytes: packed.bytes,
        ends: packed.ends,
    };
    Column {
        name: column.name,
        states: column.states,
        values: match column.values {
            Native::Boolean(values) => Values::Boolean(values),
            Native::Integer(values) => Values::Integer(values),
            Native::Float(values) => Values::Float(values),
            Native::Timestamp(values) => Values::Timestamp(values),
            Native::Date(values) => Values::Date(values),
            Native::Decimal(values) => Values::Decimal(packed(values)),
            Native::Text(values) => Values::Text(packed(values)),
            Native::Bytes(values) => Values::Bytes(packed(values)),
            Native::Json(values) => Values::Json(packed(values)),
        },
    }
}
