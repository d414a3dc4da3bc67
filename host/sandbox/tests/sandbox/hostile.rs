//! Plugins that misbehave: each costs its own call and nothing else (invariant 11).

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::{BoxFuture, pending};
use tidegate_core::batch::{Batch, Packed};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{
    ChangeStream, ConnectorContext, Direction, Fault, FaultKind, Group, MappingContext,
    OperationKind, Operations, Request, Response, Selection, StreamKind,
};
use tidegate_gateway::{Call, Outside};
use tidegate_sandbox::{CallError, Limits, World, component_from_core};

use crate::forge::{self, ECHO};

/// What a call ended in: its code, and the knob where a limit was reached.
fn ending<T>(result: &Result<T, CallError>) -> (String, Option<&'static str>) {
    match result {
        Ok(_) => ("ok".to_owned(), None),
        Err(error) => {
            let knob = match error {
                CallError::Breach { knob, message, .. } => {
                    assert!(message.contains(knob), "{message} does not name {knob}");
                    Some(*knob)
                }
                _ => None,
            };
            (error.code().to_owned(), knob)
        }
    }
}

fn limits() -> Limits {
    Limits {
        memory_bytes_max: 4 << 20,
        log_lines_max: 10,
        ..Limits::default()
    }
}

/// With little time where a case is to run out of it, and else with more than a busy machine can use up before what the case
/// is about.
fn hasty(knob: Option<&str>, limits: Limits) -> Limits {
    match knob {
        Some("cpu-ms-max") => Limits {
            cpu_ms_max: 100,
            ..limits
        },
        Some("wall-ms-max") => Limits {
            wall_ms_max: 300,
            ..limits
        },
        _ => limits,
    }
}

#[tokio::test]
async fn a_mapping_that_misbehaves_loses_its_call_and_nothing_else() {
    let flood = "(loop $again
        (call $log (i32.const 1) (i32.const 0) (i32.const 16))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $count) (i32.const 100000))))";
    let twice = "(if (global.get $called) (then unreachable)) (global.set $called (i32.const 1))";
    // In low pages and in grown ones, and in more of them than stay mapped between calls.
    let marks = "(drop (memory.grow (i32.const 40)))
        (local.set $count (i32.const 12192))
        (loop $again
            (if (i32.load8_u (local.get $count)) (then unreachable))
            (i32.store8 (local.get $count) (i32.const 1))
            (local.set $count (i32.add (local.get $count) (i32.const 8192)))
            (br_if $again (i32.lt_u (local.get $count) (i32.mul (memory.size) (i32.const 65536)))))";
    let cases: &[(&str, String, &str, Option<&str>)] = &[
        ("behaves", ECHO.to_owned(), "ok", None),
        ("keeps state", format!("{twice}{ECHO}"), "ok", None),
        ("keeps memory", format!("{marks}{ECHO}"), "ok", None),
        ("floods the log", format!("{flood}{ECHO}"), "ok", None),
        ("never ends", "(loop $again (br $again)) unreachable".into(), "cpu-limit", Some("cpu-ms-max")),
        (
            "eats memory",
            "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) unreachable".into(),
            "memory-limit",
            Some("memory-bytes-max"),
        ),
        ("gives up", "unreachable".into(), "unreachable", None),
        ("recurses for ever", "(call $endless (i32.const 0))".into(), "stack-overflow", None),
        ("reads beyond its memory", "(i32.load (i32.const -8))".into(), "memory-out-of-bounds", None),
        ("divides by zero", "(i32.div_u (i32.const 1) (i32.const 0))".into(), "arithmetic", None),
        ("loses its rows", "(i32.const 1024)".into(), "row-count", None),
        ("invents a row", format!("(i32.store (i32.const 1044) (i32.const 2048)) (i32.store (i32.const 1048) (i32.const 1))
            (i32.store (i32.const 2048) (i32.const 3)){ECHO}"), "row-not-given", None),
        (
            "points past its memory",
            format!("{ECHO} (i32.store (i32.const 1036) (i32.const 0x7ffffff0))"),
            "trap",
            None,
        ),
    ];
    let sandbox = forge::sandbox(None);
    let good = forge::load(&sandbox, forge::mapping(ECHO), limits()).await;
    let context = MappingContext::default();
    let batch = forge::batch(3);
    for (name, body, code, knob) in cases {
        let limits = hasty(*knob, limits());
        let plugin = forge::load(&sandbox, forge::mapping(body), limits).await;
        for _ in 0..2 {
            let result = plugin
                .map_batch(&context, Direction::LeftToRight, batch.clone())
                .await;
            assert_eq!(
                ending(&result),
                ((*code).to_owned(), *knob),
                "{name}: {result:?}"
            );
            let other = good
                .map_batch(&context, Direction::LeftToRight, batch.clone())
                .await;
            assert_eq!(
                other.map(|mapped| mapped.batch),
                Ok(batch.clone()),
                "after one that {name}"
            );
        }
    }
}

/// A mapping with one more thing in its core module.
fn with(declared: &str, body: &str) -> Vec<u8> {
    let text = forge::mapping_text(&format!("{body}{ECHO}"));
    let text = text.replacen("(global $called", &format!("{declared} (global $called"), 1);
    component_from_core(&forge::module(&text), forge::MAPPING, World::Mapping).unwrap()
}

/// What no compiler of safe Rust emits; `tests/plugins/hostile` has the rest.
#[tokio::test]
async fn tables_are_counted() {
    let sandbox = forge::sandbox(None);
    let grow = "(loop $again (drop (table.grow $table (ref.null func) (i32.const 1000)))
        (br_if $again (i32.lt_u (table.size $table) (i32.const 50000))))";
    for (table_elements_max, code, knob) in [
        (60_000, "ok", None),
        (5_000, "table-limit", Some("table-elements-max")),
    ] {
        let limits = Limits {
            table_elements_max,
            ..limits()
        };
        let component = with("(table $table 1 funcref)", grow);
        let plugin = forge::load(&sandbox, component, limits).await;
        let context = MappingContext::default();
        let result = plugin
            .map_batch(&context, Direction::LeftToRight, forge::batch(1))
            .await;
        assert_eq!(ending(&result), (code.to_owned(), knob), "{result:?}");
    }
}

/// Several memories in one module do not fit the pool, and are refused before anything runs; without a pool
/// they are summed: each stays below the limit here, and all of them together do not.
#[tokio::test]
async fn a_second_memory_does_not_double_the_first() {
    let sandbox = forge::sandbox(None);
    let grow =
        "(drop (memory.grow $second (i32.const 30))) (drop (memory.grow $third (i32.const 40)))";
    let component = with("(memory $second 1) (memory $third 1)", grow);
    let context = MappingContext::default();
    let found = match sandbox.load(component, limits()).await {
        Err(error) => error.code().to_owned(),
        Ok(plugin) => {
            let batch = forge::batch(1);
            let result = plugin
                .map_batch(&context, Direction::LeftToRight, batch.clone())
                .await;
            ending(&result).0
        }
    };
    let expected = if sandbox.is_pooled() {
        "compile-failed"
    } else {
        "memory-limit"
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_answer_longer_than_allowed_names_its_knob() {
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        output_bytes_max: 2_000,
        ..limits()
    };
    let plugin = forge::load(&sandbox, forge::mapping(ECHO), limits).await;
    let context = MappingContext::default();
    let small = plugin
        .map_batch(&context, Direction::LeftToRight, forge::batch(10))
        .await;
    assert_eq!(ending(&small), ("ok".to_owned(), None));
    let large = plugin
        .map_batch(&context, Direction::LeftToRight, forge::batch(1_000))
        .await;
    assert_eq!(
        ending(&large),
        ("output-bytes-limit".to_owned(), Some("output-bytes-max"))
    );
}

/// Answers at once with faults, or never.
struct Elsewhere {
    answers: bool,
}

impl Outside for Elsewhere {
    fn fetch_batch<'a>(
        &'a self,
        _call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>> {
        if !self.answers {
            return Box::pin(pending());
        }
        let fault = |_| Err(Fault::new(FaultKind::Missing, "nobody", "nobody is there"));
        let answers = requests.into_iter().map(fault).collect();
        Box::pin(async move { answers })
    }

    fn write_batch<'a>(
        &'a self,
        call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>> {
        self.fetch_batch(call, requests)
    }
}

fn call(tokens: &[u64]) -> Call {
    let tokens: HashSet<u64> = tokens.iter().copied().collect();
    Call {
        sync: "people".into(),
        function: "",
        lane: Lane::Normal,
        may_write: false,
        tokens: Arc::new(tokens),
    }
}

fn context() -> ConnectorContext {
    ConnectorContext {
        config: "{}".to_owned(),
        now: 1_700_000_000_000_000,
        rows_max: 100,
    }
}

fn stream() -> ChangeStream {
    let selection = Selection {
        object: "people".to_owned(),
        fields: vec!["name".to_owned()],
    };
    ChangeStream {
        kind: StreamKind::Changes,
        selections: vec![selection],
        cursor: None,
        rows_max: 100,
    }
}

/// The answer `ok` of one page of nothing: the list at 1032 has one element at 2048, whose payload is zero.
const ONE_PAGE: &str = "(i32.store (i32.const 1032) (i32.const 2048))
    (i32.store (i32.const 1036) (i32.const 1)) (i32.const 1024)";

#[tokio::test]
async fn a_connector_that_asks_too_much_is_stopped() {
    let fetch = |requests: u32| {
        format!("(call $fetch (i32.const 8192) (i32.const {requests}) (i32.const 1536))")
    };
    let cases: &[(&str, String, bool, &str, Option<&str>)] = &[
        (
            "asks once",
            format!("{}{ONE_PAGE}", fetch(2)),
            true,
            "ok",
            None,
        ),
        (
            "asks for ever",
            format!("(loop $again {} (br $again)) unreachable", fetch(0)),
            true,
            "host-calls-limit",
            Some("host-calls-max"),
        ),
        (
            "asks for much at once",
            format!("{}{ONE_PAGE}", fetch(9)),
            true,
            "requests-limit",
            Some("requests-max"),
        ),
        (
            "waits for ever",
            format!("{}{ONE_PAGE}", fetch(1)),
            false,
            "wall-limit",
            Some("wall-ms-max"),
        ),
        (
            "answers too few streams",
            "(i32.const 1024)".into(),
            true,
            "page-count",
            None,
        ),
    ];
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        host_calls_max: 20,
        requests_max: 8,
        ..limits()
    };
    for (name, pull, answers, code, knob) in cases {
        let component = forge::connector(pull, "(i32.const 1024)");
        let limits = hasty(*knob, limits.clone());
        let plugin = forge::load(&sandbox, component, limits).await;
        let outside = Arc::new(Elsewhere { answers: *answers });
        let result = plugin
            .pull(outside, call(&[]), &context(), vec![stream()])
            .await;
        assert_eq!(
            ending(&result),
            ((*code).to_owned(), *knob),
            "{name}: {result:?}"
        );
    }
}

#[tokio::test]
async fn an_outcome_for_a_row_that_was_never_given_is_refused() {
    // One outcome at 2048: its token, and `unknown` of an empty text.
    let outcome = |token: u64| {
        format!(
            "(i64.store (i32.const 2048) (i64.const {token})) (i32.store8 (i32.const 2056) (i32.const 2))
             (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
             (i32.const 1024)"
        )
    };
    let sandbox = forge::sandbox(None);
    let operations = Operations {
        method: "single".to_owned(),
        groups: vec![Group {
            object: "people".to_owned(),
            operation: OperationKind::Update,
            key: None,
            tokens: vec![7],
            ids: Packed::from_iter(["1"]),
            into: Packed::from_iter([""]),
            versions: Packed::from_iter([""]),
            batch: Batch {
                rows: 1,
                columns: Vec::new(),
            },
        }],
        references: Vec::new(),
    };
    for (token, code) in [(7, "ok"), (99, "token-not-given")] {
        let component = forge::connector("(i32.const 1024)", &outcome(token));
        let plugin = forge::load(&sandbox, component, limits()).await;
        let outside = Arc::new(Elsewhere { answers: true });
        let result = plugin
            .push(outside, call(&[7]), &context(), operations.clone())
            .await;
        assert_eq!(ending(&result).0, code, "{result:?}");
    }
}

/// Calls run on any thread of a runtime, many at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_instances_wait_their_turn() {
    let sandbox = forge::sandbox(None);
    let limits = Limits {
        calls_max: 3,
        ..limits()
    };
    let plugin = forge::load(&sandbox, forge::mapping(ECHO), limits).await;
    let calls = (1..=64).map(|rows| {
        let plugin = Arc::clone(&plugin);
        tokio::spawn(async move {
            let batch = forge::batch(rows);
            let context = MappingContext::default();
            let mapped = plugin
                .map_batch(&context, Direction::LeftToRight, batch.clone())
                .await;
            assert_eq!(mapped.map(|mapped| mapped.batch), Ok(batch));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}
