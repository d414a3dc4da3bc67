//! Lines for the operator's log. Name fields, ids and counts; never customers' values or secrets.

use crate::bindings::connector::tidegate::plugin::log;

pub use log::Level;

/// Adds a line. Outside a component, as in a plugin's own tests, it goes to standard error.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// A line that only somebody who looks for a fault wants to see.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// A line that an operator wants to see.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something that an operator should look into.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that an operator must look into.
pub fn error(message: &str) {
    write(Level::Error, message);
}
