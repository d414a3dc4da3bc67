//! World `connector-plugin`: what `tidegate_sdk::export_connector!` describes a component with.
//!
//! Only the macro leaves this crate. It takes types and entry points from where it is told to, which is
//! `tidegate_sdk::bindings::connector`; the types generated here are the same ones again and stay unused.
#![allow(
    unsafe_code,
    reason = "generated: the canonical ABI passes raw pointers, and only this room does so"
)]
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code is not written to the house's lints"
)]

wit_bindgen::generate!({
    path: "../../../wit/v0.1",
    world: "tidegate:plugin/connector-plugin",
    pub_export_macro: true,
    export_macro_name: "export_connector_world",
    default_bindings_module: "tidegate_sdk_plain",
    generate_unused_types: true,
});
