//! The plugin's logic against a real SQLite library.

mod capture;
mod conditions;
mod cost;
mod describe;
mod host;
mod library;
mod model;
mod values;
mod writes;
