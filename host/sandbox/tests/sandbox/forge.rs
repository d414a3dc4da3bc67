//! Makes components for tests: a core module as text, encoded and given a manifest as `plugin build` would.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::batch::{Batch, Column, Packed, Values};
use tidegate_sandbox::{Limits, Plugin, Sandbox, Settings, World, component_from_core};

pub(crate) const MAPPING: &str = r#"
[plugin]
name = "made-for-a-test"
version = "1.0.0"
kind = "mapping"
wit = "0.1.0"
"#;

pub(crate) const CONNECTOR: &str = r#"
[plugin]
name = "made-for-a-test"
version = "1.0.0"
kind = "connector"
wit = "0.1.0"

[[origins]]
name = "main"
protocol = "sqlite"

[capture]
cursor = "endpoint"
interval = "5s"
"#;

/// Memory from 4096 on is handed out and never taken back; a page is added when it runs out.
const MEMORY: &str = r#"
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536))))))
      unreachable)
    (local.get $at))
"#;

const LOG_IMPORT: &str =
    r#"(import "tidegate:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// A mapping whose `map-batch` has this body. Parameters 7, 8 and 9 are the batch's rows and its columns' place
/// and number; the result is an address, and memory below 4096 is zero, which reads as `ok` of nothing.
pub(crate) fn mapping_module(map_batch: &str) -> Vec<u8> {
    module(&mapping_text(map_batch))
}

pub(crate) fn mapping_text(map_batch: &str) -> String {
    format!(
        r#"(module {LOG_IMPORT} {MEMORY}
          (global $called (mut i32) (i32.const 0))
          (func $endless (param i32) (result i32) (call $endless (i32.add (local.get 0) (i32.const 1))))
          (func (export "tidegate:plugin/mapping@0.1.0#describe")
            (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func $map (export "tidegate:plugin/mapping@0.1.0#map-batch")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local $count i32)
            {map_batch}))"#
    )
}

/// The body that answers the batch that came in.
pub(crate) const ECHO: &str = r#"
  (i32.store (i32.const 1032) (local.get 7))
  (i32.store (i32.const 1036) (local.get 8))
  (i32.store (i32.const 1040) (local.get 9))
  (i32.const 1024)"#;

/// A connector whose `pull` and `push` have these bodies; its other functions answer `ok` of nothing.
pub(crate) fn connector_module(pull: &str, push: &str) -> Vec<u8> {
    module(&format!(
        r#"(module {LOG_IMPORT}
          (import "tidegate:plugin/gateway@0.1.0" "fetch-batch" (func $fetch (param i32 i32 i32)))
          {MEMORY}
          (func (export "tidegate:plugin/connector@0.1.0#discover")
            (param i32 i32 i64 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "tidegate:plugin/connector@0.1.0#count")
            (param i32 i32 i64 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "tidegate:plugin/connector@0.1.0#prepare")
            (param i32 i32 i64 i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "tidegate:plugin/connector@0.1.0#pull")
            (param i32 i32 i64 i32 i32 i32) (result i32) {pull})
          (func (export "tidegate:plugin/connector@0.1.0#read")
            (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "tidegate:plugin/connector@0.1.0#push")
            (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32) (result i32) {push})
          (func (export "tidegate:plugin/connector@0.1.0#poll")
            (param i32 i32 i64 i32 i32 i32) (result i32) (i32.const 1024)))"#
    ))
}

pub(crate) fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn mapping(map_batch: &str) -> Vec<u8> {
    component_from_core(&mapping_module(map_batch), MAPPING, World::Mapping).unwrap()
}

pub(crate) fn connector(pull: &str, push: &str) -> Vec<u8> {
    component_from_core(&connector_module(pull, push), CONNECTOR, World::Connector).unwrap()
}

pub(crate) fn sandbox(cache_dir: Option<&Path>) -> Arc<Sandbox> {
    let settings = Settings {
        cache_dir: cache_dir.map(Path::to_owned),
        instances_max: 4,
    };
    Sandbox::new(settings).unwrap()
}

pub(crate) async fn load(
    sandbox: &Arc<Sandbox>,
    component: Vec<u8>,
    limits: Limits,
) -> Arc<Plugin> {
    match sandbox.load(component, limits).await {
        Ok(plugin) => plugin,
        Err(error) => panic!("{}: {error}", error.code()),
    }
}

/// Rows with one column of text, `a` long.
pub(crate) fn batch(rows: usize) -> Batch {
    let names: Packed = (0..rows).map(|row| format!("value {row}")).collect();
    Batch {
        rows,
        columns: vec![Column {
            name: "name".to_owned(),
            states: Vec::new(),
            values: Values::Text(names),
        }],
    }
}
