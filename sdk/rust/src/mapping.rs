//! What a mapping implements, and what it is asked and answers.

use serde::de::DeserializeOwned;

use crate::batch::Batch;
use crate::bindings::mapping::exports::tidegate::plugin::mapping;
use crate::fault::Fault;

/// What the host tells a mapping.
pub use mapping::Context as MappingContext;
pub use mapping::{Direction, FieldType, Mapped, RowError, Rule};

/// Turns one side's fields into the other's: pure, the same input gives the same output. Export it with
/// [`export_mapping!`](crate::export_mapping).
pub trait Mapping {
    /// Which fields are read and written; every mistake in the config at once, one a line.
    fn describe(context: &MappingContext) -> Result<Vec<Rule>, Fault>;

    /// As many rows as came in, in the same order; rows that can't be mapped are named in `errors`.
    fn map_batch(
        context: &MappingContext,
        direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, Fault>;
}

impl MappingContext {
    /// The mapping's config as the author's own type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.config)
            .map_err(|error| Fault::config("config-unreadable", format!("config: {error}")))
    }

    /// The fields of the side that `direction` reads and of the one that it writes.
    pub fn sides(&self, direction: Direction) -> (&[FieldType], &[FieldType]) {
        match direction {
            Direction::LeftToRight => (&self.left, &self.right),
            Direction::RightToLeft => (&self.right, &self.left),
        }
    }
}

/// Makes a component of a type that implements [`Mapping`]. Does nothing outside wasm.
#[macro_export]
macro_rules! export_mapping {
    ($mapping:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(
            unsafe_code,
            reason = "the canonical ABI's entry points are raw functions; the SDK writes them"
        )]
        const _: () = {
            use $crate::Mapping;
            use $crate::bindings::mapping::exports::tidegate::plugin::mapping as wit;

            struct Component;

            impl wit::Guest for Component {
                fn describe(context: wit::Context) -> Result<Vec<wit::Rule>, $crate::Fault> {
                    <$mapping as Mapping>::describe(&context)
                }

                fn map_batch(
                    context: wit::Context,
                    direction: wit::Direction,
                    batch: $crate::Batch,
                ) -> Result<wit::Mapped, $crate::Fault> {
                    <$mapping as Mapping>::map_batch(&context, direction, batch)
                }
            }

            $crate::bindings::mapping::export_mapping_world!(
                Component with_types_in $crate::bindings::mapping
            );
        };
    };
}
