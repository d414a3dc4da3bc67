//! The field-map plugin.
use tidegate_sdk::{Batch, Direction, Fault, Mapped, Mapping, MappingContext, Rule};

struct FieldMap;

impl Mapping for FieldMap {
    fn describe(_context: &MappingContext) -> Result<Vec<Rule>, Fault> {
        Ok(Vec::new())
    }

    fn map_batch(
        _context: &MappingContext,
        _direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, Fault> {
        Ok(Mapped {
            batch,
            errors: Vec::new(),
        })
    }
}

tidegate_sdk::export_mapping!(FieldMap);
