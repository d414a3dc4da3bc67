//! Objects for checks of what a config says of them.

use tidegate_core::batch::DataType;
use tidegate_core::plugin::{Field, ObjectSchema};

/// A field that may hold nothing and be written.
pub(crate) fn field(name: &str, data_type: DataType) -> Field {
    Field {
        label: name.to_owned(),
        name: name.to_owned(),
        data_type,
        nullable: true,
        creatable: true,
        updatable: true,
        required: false,
        upsert_key: false,
        length_max: None,
        precision: None,
        scale: None,
        resolution_us: None,
        choices: Vec::new(),
        references: Vec::new(),
        notes: Vec::new(),
    }
}

/// An object of such fields.
pub(crate) fn object(name: &str, fields: &[(&str, DataType)]) -> ObjectSchema {
    let fields = fields
        .iter()
        .map(|(name, data_type)| field(name, *data_type));
    ObjectSchema {
        name: name.to_owned(),
        label: name.to_owned(),
        fields: fields.collect(),
        id_fields: Vec::new(),
        readable: true,
        writable: true,
        reports_deletes: true,
    }
}
