//! The plugin's logic against a real SQLite library.

mod capture;
mod describe;
mod library;
mod model;
mod values;
mod writes;
