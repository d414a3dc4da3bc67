//! Where an endpoint is: the only text in tidegate that names a host.

use std::path::Path;

use tidegate_gateway::{Origin, OriginError};

/// Reads an origin; a database file is relative to `folder`. What was written is not part of an error: it may hold
/// a password.
pub(super) fn parse_origin(written: &str, folder: &Path) -> Result<Origin, OriginError> {
    match written.strip_prefix("sqlite:") {
        Some("") => Err(OriginError::Syntax),
        Some(path) => Origin::parse(&format!("sqlite:{}", folder.join(path).display())),
        None => Origin::parse(written),
    }
}
