//! Generated bindings for `wit/v0.1`. Both worlds share the types of the interfaces they import.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code"
)]

pub(crate) mod connector {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "inbound-connector-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub(crate) mod mapping {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1",
        world: "mapping-plugin",
        exports: { default: async },
        with: {
            "tidegate:plugin/records": super::connector::tidegate::plugin::records,
            "tidegate:plugin/faults": super::connector::tidegate::plugin::faults,
            "tidegate:plugin/log": super::connector::tidegate::plugin::log,
        },
    });
}

pub(crate) use connector::exports::tidegate::plugin::connector as connecting;
pub(crate) use connector::exports::tidegate::plugin::inbound as receiving;
pub(crate) use connector::tidegate::plugin::{faults, gateway, log, records};
pub(crate) use mapping::exports::tidegate::plugin::mapping as mapping_exports;
