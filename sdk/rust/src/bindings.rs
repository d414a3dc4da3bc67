//! What `wit-bindgen` makes of `wit/v0.1`. All worlds share one set of Rust types, those of the largest: an
//! inbound connector. A plain connector takes its exports from there too, and only says that it is of the
//! world without `inbound`; a mapping adds its own export.
#![allow(
    unsafe_code,
    reason = "generated: the canonical ABI passes raw pointers, and only this room does so"
)]
#![allow(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code is not written to the house's lints"
)]

/// World `connector-plugin`, of which only the description is used: macros of one name can't be exported
/// twice from one crate, and each world's exports come as macros named after the interface.
pub use tidegate_sdk_plain::export_connector_world;

/// World `inbound-connector-plugin`.
pub mod connector {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "tidegate:plugin/inbound-connector-plugin",
        pub_export_macro: true,
        export_macro_name: "export_inbound_connector_world",
        default_bindings_module: "tidegate_sdk::bindings::connector",
        additional_derives: [PartialEq],
        generate_unused_types: true,
    });
}

/// World `mapping-plugin`.
pub mod mapping {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "tidegate:plugin/mapping-plugin",
        pub_export_macro: true,
        export_macro_name: "export_mapping_world",
        default_bindings_module: "tidegate_sdk::bindings::mapping",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        with: {
            "tidegate:plugin/records@0.1.0": crate::bindings::connector::tidegate::plugin::records,
            "tidegate:plugin/faults@0.1.0": crate::bindings::connector::tidegate::plugin::faults,
            "tidegate:plugin/log@0.1.0": crate::bindings::connector::tidegate::plugin::log,
        },
    });
}
