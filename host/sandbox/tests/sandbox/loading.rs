//! Files that are no plugins are refused with a code, before anything of them is compiled.

use tidegate_core::plugin::{Direction, MappingContext};
use tidegate_sandbox::{Limits, LoadError, embed_manifest, inspect};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::forge::{self, CONNECTOR, ECHO, MAPPING};

/// A component that imports this and exports nothing.
fn importing(import: &str) -> Vec<u8> {
    let component = forge::module(&format!("(component {import})"));
    embed_manifest(&component, MAPPING).unwrap()
}

fn instance(name: &str, function: &str) -> Vec<u8> {
    importing(&format!(
        r#"(import "{name}" (instance (export "{function}" (func))))"#
    ))
}

const OPENING: &str = r#"(import "wasi:filesystem/types@0.2.0" (instance
    (export "descriptor" (type $descriptor (sub resource)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor))))))"#;

/// A mapping encoded against a changed interface.
fn against(changes: &[(&str, &str)], module: &[u8]) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v0.1");
    let mut sources = wit_parser::SourceMap::default();
    for name in [
        "records",
        "faults",
        "gateway",
        "log",
        "connector",
        "mapping",
        "world",
    ] {
        let path = folder.join(format!("{name}.wit"));
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in changes {
            text = text.replace(from, to);
        }
        sources.push(&path, text);
    }
    let mut resolve = Resolve::default();
    let group = sources
        .parse()
        .unwrap_or_else(|(_, error)| panic!("{error}"));
    let package = resolve.push_group(group).unwrap();
    let world = resolve
        .select_world(&[package], Some("mapping-plugin"))
        .unwrap();
    let mut module = module.to_vec();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.module(&module).unwrap();
    let component = encoder.encode().unwrap_or_else(|error| panic!("{error:#}"));
    embed_manifest(&component, MAPPING).unwrap()
}

fn next_version() -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "tidegate:plugin/mapping@0.2.0#describe")
          (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "tidegate:plugin/mapping@0.2.0#map-batch")
          (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#;
    against(
        &[(
            "package tidegate:plugin@0.1.0",
            "package tidegate:plugin@0.2.0",
        )],
        &forge::module(text),
    )
}

fn with_manifest(manifest: &str) -> Vec<u8> {
    embed_manifest(&forge::mapping(ECHO), manifest).unwrap()
}

/// Name, file, code, and words that its message must have.
type Case = (&'static str, Vec<u8>, &'static str, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let module = forge::mapping_module(ECHO);
    let two = MAPPING.replace("wit = \"0.1.0\"", "wit = \"0.2.0\"");
    let schema = format!("{MAPPING}\n[config]\ntype = \"no such type\"\n");
    let mut cut = forge::mapping(ECHO);
    cut.truncate(cut.len() / 2);
    vec![
        (
            "nothing",
            Vec::new(),
            "not-wasm",
            &["not a WebAssembly file"],
        ),
        ("text", b"#!/bin/sh\nexit 0\n".to_vec(), "not-wasm", &[]),
        ("half a header", b"\0asm".to_vec(), "not-wasm", &[]),
        (
            "a core module",
            module.clone(),
            "core-module",
            &["tidegate plugin build"],
        ),
        ("a component cut short", cut, "broken-component", &[]),
        (
            "noise",
            [b"\0asm\x0d\0\x01\0".as_slice(), &[0x77; 64]].concat(),
            "broken-component",
            &[],
        ),
        (
            "no manifest",
            forge::module("(component)"),
            "no-manifest",
            &["tidegate:manifest"],
        ),
        (
            "a manifest with mistakes",
            with_manifest("[plugin]\nnaem = 1\n"),
            "manifest-invalid",
            &["line 2", "name"],
        ),
        (
            "a config schema that is none",
            with_manifest(&schema),
            "manifest-invalid",
            &["line 9", "JSON Schema"],
        ),
        (
            "a later interface, as it says",
            with_manifest(&two),
            "wrong-wit-version",
            &["0.2.0", "0.1.0"],
        ),
        (
            "a later interface, as it is",
            next_version(),
            "wrong-wit-version",
            &["0.2.0", "0.1.0"],
        ),
        (
            "another kind",
            with_manifest(CONNECTOR),
            "wrong-world",
            &["connector@0.1.0", "mapping@0.1.0"],
        ),
        (
            "another type",
            against(&[("row: u32,", "row: u64,")], &module),
            "wrong-world",
            &[
                "map-batch",
                "errors.item.row",
                "u64 where this host has u32",
            ],
        ),
        (
            "one more field",
            against(
                &[(
                    "field: string,\n",
                    "field: string,\n        hint: string,\n",
                )],
                &module,
            ),
            "wrong-world",
            &["map-batch", "hint"],
        ),
        (
            "sockets",
            instance("wasi:sockets/tcp@0.2.3", "start"),
            "imports-refused",
            &["no sockets"],
        ),
        (
            "http",
            instance("wasi:http/outgoing-handler@0.2.0", "handle"),
            "imports-refused",
            &["gateway"],
        ),
        (
            "files",
            importing(OPENING),
            "imports-refused",
            &["no files"],
        ),
        (
            "async WASI",
            instance("wasi:clocks/system-clock@0.3.0", "now"),
            "imports-refused",
            &["0.2"],
        ),
        (
            "something else",
            instance("acme:database/query@1.0.0", "run"),
            "imports-refused",
            &["no such interface"],
        ),
        (
            "a mapping that reaches out",
            reaching_out(),
            "mapping-not-pure",
            &["gateway@0.1.0", "connector"],
        ),
        (
            "nothing exported",
            importing(""),
            "wrong-world",
            &["exports nothing"],
        ),
    ]
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_a_reason() {
    let sandbox = forge::sandbox(None);
    for (name, bytes, code, words) in cases() {
        let looked = inspect(&bytes)
            .err()
            .unwrap_or_else(|| panic!("{name} was taken for a plugin"));
        let error = sandbox
            .load(bytes, Limits::default())
            .await
            .err()
            .unwrap_or_else(|| panic!("{name} was loaded"));
        assert_eq!(error.code(), code, "{name}: {error}");
        assert_eq!(
            looked.to_string(),
            error.to_string(),
            "{name}: inspect says something else"
        );
        for word in words {
            assert!(
                error.to_string().contains(word),
                "{name}: `{error}` does not say `{word}`"
            );
        }
    }
    forge::load(&sandbox, forge::mapping(ECHO), Limits::default()).await;
}

#[tokio::test]
async fn size_is_looked_at_first() {
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        component_bytes_max: 100,
        ..Limits::default()
    };
    let error = sandbox.load(vec![0; 101], limits).await.unwrap_err();
    assert_eq!(error.code(), "oversized");
    assert!(error.to_string().contains("component-bytes-max"), "{error}");
}

#[tokio::test]
async fn what_can_not_even_start_is_told_which_limit_to_raise() {
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        memory_bytes_max: 1 << 16,
        ..Limits::default()
    };
    let error = sandbox
        .load(forge::mapping(ECHO), limits)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "memory-limit");
    for words in ["memory-bytes-max", "131072", "65536"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_limit_of_zero_is_a_mistake() {
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        memory_bytes_max: 0,
        cpu_ms_max: 0,
        ..Limits::default()
    };
    match sandbox.load(forge::mapping(ECHO), limits).await {
        Err(LoadError::LimitsInvalid(names)) => {
            assert_eq!(names, ["memory-bytes-max", "cpu-ms-max"])
        }
        other => panic!("{other:?}"),
    }
}

/// A mapping that would ask the vendor: the world is widened, and `map-batch` calls the gateway.
fn reaching_out() -> Vec<u8> {
    let import = r#"(module
        (import "tidegate:plugin/gateway@0.1.0" "fetch-batch" (func $fetch (param i32 i32 i32)))"#;
    let body = format!("(call $fetch (i32.const 0) (i32.const 0) (i32.const 1536)){ECHO}");
    let text = forge::mapping_text(&body).replacen("(module", import, 1);
    let world = "world mapping-plugin {\n    import gateway;";
    against(&[("world mapping-plugin {", world)], &forge::module(&text))
}

const BAGGAGE: &str = "
package wasi:clocks@0.2.0 { interface monotonic-clock { now: func() -> u64; } }
package wasi:cli@0.2.6 { interface environment { get-environment: func() -> list<tuple<string, string>>; } }
package wasi:random@0.2.3 { interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; } }
/// A mapping of a language with a runtime.
world mapping-plugin {
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:cli/environment@0.2.6;
    import wasi:random/insecure-seed@0.2.3;
";

/// What language runtimes drag in of WASI links, and finds nothing there: no time, no environment, and the same
/// random numbers in every call (invariant 12).
#[tokio::test]
async fn a_runtime_may_bring_its_baggage() {
    let nothing_there = r#"
        (if (i64.ne (call $now) (i64.const 0)) (then unreachable))
        (call $environment (i32.const 1536))
        (if (i32.load (i32.const 1540)) (then unreachable))
        (call $seed (i32.const 1536))
        (if (i64.ne (i64.load (i32.const 1536)) (i64.const 0)) (then unreachable))"#;
    let imports = r#"(module
        (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
        (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
        (import "wasi:random/insecure-seed@0.2.3" "insecure-seed" (func $seed (param i32)))"#;
    let text =
        forge::mapping_text(&format!("{nothing_there}{ECHO}")).replacen("(module", imports, 1);
    let component = against(
        &[("world mapping-plugin {", BAGGAGE)],
        &forge::module(&text),
    );
    let sandbox = forge::sandbox(None);
    let plugin = forge::load(&sandbox, component, Limits::default()).await;
    let context = MappingContext::default();
    let mapped = plugin
        .map_batch(&context, Direction::LeftToRight, forge::batch(2))
        .await;
    assert_eq!(mapped.unwrap().batch, forge::batch(2));
}

#[test]
fn an_inspection_tells_what_a_plugin_is() {
    let component = forge::connector("unreachable", "unreachable");
    let seen = inspect(&component).unwrap();
    assert_eq!(seen.bytes, component.len() as u64);
    assert_eq!(seen.sha256.len(), 64);
    assert!(!seen.inbound);
    let text = seen.to_string();
    for words in [
        "made-for-a-test 1.0.0, a connector for tidegate:plugin@0.1.0",
        "main (sqlite)",
        "tidegate:plugin/gateway@0.1.0: fetch-batch",
        "tidegate:plugin/connector@0.1.0: discover, count, prepare, pull, read, push, poll",
        "wit-component",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["manifest"]["plugin"]["kind"], "connector");
}

#[test]
fn a_manifest_can_be_replaced() {
    let once = forge::mapping(ECHO);
    let other = MAPPING.replace("1.0.0", "1.0.1");
    let twice = embed_manifest(&embed_manifest(&once, &other).unwrap(), &other).unwrap();
    assert_eq!(inspect(&twice).unwrap().manifest.plugin.version, "1.0.1");
    assert_eq!(once.len(), twice.len());
}
