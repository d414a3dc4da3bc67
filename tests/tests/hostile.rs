//! A plugin costs its own call and nothing else (invariant 11): a connector and a mapping in Rust that do what
//! their config says, in the sandbox and in a running host.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use serde_json::json;
use tidegate::status::{Status, SyncState};
use tidegate_core::batch::{Batch, Cell, Column, DataType, Packed};
use tidegate_core::pace::Lane;
use tidegate_core::plugin::{
    ChangeStream, ConnectorContext, Direction, EventRequest, Fault, FaultKind, Group, Header,
    MappingContext, OperationKind, Operations, PrepareMode, Request, Response, Selection,
    StreamKind,
};
use tidegate_gateway::{Call, Outside};
use tidegate_sandbox::{CallError, Limits, Plugin, Sandbox, Settings};
use tidegate_tests::{built, host::Host, things};

/// Small, so that a bomb goes off at once.
fn limits() -> Limits {
    Limits {
        memory_bytes_max: 16 << 20,
        output_bytes_max: 200_000,
        host_calls_max: 50,
        requests_max: 500,
        log_lines_max: 5,
        ..Limits::default()
    }
}

/// With too little time for what never ends; for all else a busy machine needs more.
fn hasty() -> Limits {
    Limits {
        cpu_ms_max: 200,
        ..limits()
    }
}

async fn loaded(name: &str, limits: Limits) -> Arc<Plugin> {
    let sandbox = Sandbox::new(Settings {
        cache_dir: Some(built::compiled()),
        ..Settings::default()
    })
    .expect("a sandbox");
    let file = built::plugins(&[name]).join(format!("{name}.wasm"));
    let bytes = std::fs::read(file).expect("the component");
    sandbox
        .load(bytes, limits)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Nobody is there; the misdeeds do not wait for answers.
struct Nobody(&'static str);

impl Outside for Nobody {
    fn endpoint(&self) -> &str {
        self.0
    }

    fn fetch_batch<'a>(
        &'a self,
        _call: &'a Call,
        requests: Vec<Request>,
    ) -> BoxFuture<'a, Vec<Result<Response, Fault>>> {
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

fn names(names: &[&str]) -> Batch {
    let mut column = Column::new("name", DataType::Text);
    for name in names {
        assert!(column.push(Cell::Text(name)));
    }
    Batch {
        rows: names.len(),
        columns: vec![column],
    }
}

/// Calls one function; the cursor that `pull` gave last goes into the next.
struct Caller {
    plugin: Arc<Plugin>,
    endpoint: &'static str,
    config: String,
    cursor: Option<Vec<u8>>,
}

impl Caller {
    async fn call(&mut self, function: &str) -> Result<(), CallError> {
        let outside: Arc<dyn Outside> = Arc::new(Nobody(self.endpoint));
        let call = Call {
            sync: "things".into(),
            function: "",
            lane: Lane::Normal,
            may_write: true,
            tokens: Arc::new([7].into()),
        };
        let context = ConnectorContext {
            config: self.config.clone(),
            now: 1_700_000_000_000_000,
            rows_max: 100,
        };
        let plugin = &self.plugin;
        let things = Selection {
            object: "things".to_owned(),
            fields: vec!["name".to_owned()],
        };
        match function {
            "discover" => {
                let objects = vec!["things".to_owned()];
                plugin
                    .discover(outside, call, &context, objects)
                    .await
                    .map(drop)
            }
            "prepare" => plugin
                .prepare(outside, call, &context, Vec::new(), PrepareMode::Plan)
                .await
                .map(drop),
            "pull" => {
                let stream = ChangeStream {
                    kind: StreamKind::Changes,
                    selections: vec![things],
                    cursor: self.cursor.take(),
                    rows_max: 10,
                };
                let mut pages = plugin.pull(outside, call, &context, vec![stream]).await?;
                let page = pages.pop().expect("a page")?;
                self.cursor = Some(page.cursor);
                Ok(())
            }
            "read" => {
                let keys = Packed::from_iter(["1"]);
                plugin
                    .read(outside, call, &context, things, None, keys)
                    .await
                    .map(drop)
            }
            "push" => plugin
                .push(outside, call, &context, one_update())
                .await
                .map(drop),
            "poll" => plugin
                .poll(outside, call, &context, vec![1])
                .await
                .map(drop),
            "receive" => plugin
                .receive(outside, call, &context, delivery())
                .await
                .map(drop),
            "describe" => plugin.describe(&self.mapping_context()).await.map(drop),
            "map-batch" => plugin
                .map_batch(
                    &self.mapping_context(),
                    Direction::LeftToRight,
                    names(&["Ada", "Mallory", "Zoë"]),
                )
                .await
                .map(drop),
            other => panic!("no function {other}"),
        }
    }

    fn mapping_context(&self) -> MappingContext {
        MappingContext {
            config: self.config.clone(),
            ..MappingContext::default()
        }
    }
}

fn one_update() -> Operations {
    Operations {
        method: "one-by-one".to_owned(),
        groups: vec![Group {
            object: "things".to_owned(),
            operation: OperationKind::Update,
            key: None,
            tokens: vec![7],
            ids: Packed::from_iter(["1"]),
            into: Packed::from_iter([""]),
            versions: Packed::from_iter([""]),
            batch: names(&["Ada"]),
        }],
        references: Vec::new(),
    }
}

fn delivery() -> EventRequest {
    EventRequest {
        path: "/".to_owned(),
        query: Vec::new(),
        headers: vec![Header {
            name: "x-delivery".to_owned(),
            value: "d-1".to_owned(),
        }],
        body: b"thing-9".to_vec(),
    }
}

/// What code can do by itself, in whatever function: misdeed, code, knob.
const BY_CODE: &[(&str, &str, &str)] = &[
    ("loop", "cpu-limit", "cpu-ms-max"),
    ("memory-bomb", "memory-limit", "memory-bytes-max"),
    ("recursion", "stack-overflow", ""),
    ("panic", "unreachable", ""),
    ("log-flood", "ok", ""),
];

/// Function, misdeed, code, knob.
const BY_ANSWER: &[(&str, &str, &str, &str)] = &[
    ("discover", "same-field", "field-twice", ""),
    ("discover", "object-not-asked", "object-not-asked", ""),
    ("prepare", "unnamed-step", "step-unnamed", ""),
    ("pull", "host-calls", "host-calls-limit", "host-calls-max"),
    ("pull", "requests", "requests-limit", "requests-max"),
    ("pull", "lost-page", "page-count", ""),
    ("pull", "cursor-back", "cursor-went-back", ""),
    ("pull", "cursor-still", "cursor-stands-still", ""),
    ("pull", "object-not-asked", "object-not-asked", ""),
    ("pull", "field-not-asked", "field-not-asked", ""),
    ("pull", "ragged-ids", "row-count", ""),
    ("pull", "torn-text", "batch-invalid", ""),
    ("pull", "too-many-rows", "too-many-rows", ""),
    ("read", "id-not-asked", "id-not-asked", ""),
    ("read", "hint", "hint-in-read", ""),
    ("push", "token-not-given", "token-not-given", ""),
    ("push", "two-outcomes", "token-twice", ""),
    ("push", "no-id", "id-invalid", ""),
    (
        "push",
        "huge-answer",
        "output-bytes-limit",
        "output-bytes-max",
    ),
    // What it says of rows that it was not asked about is passed over: a poll before may have named them.
    ("poll", "token-not-given", "ok", ""),
    ("receive", "no-status", "status-invalid", ""),
    ("describe", "empty-rule", "rule-empty", ""),
    ("describe", "same-output", "output-twice", ""),
    ("map-batch", "lost-row", "row-count", ""),
    ("map-batch", "ragged-column", "batch-invalid", ""),
    ("map-batch", "twin-column", "batch-invalid", ""),
    ("map-batch", "row-not-given", "row-not-given", ""),
    (
        "map-batch",
        "huge-answer",
        "output-bytes-limit",
        "output-bytes-max",
    ),
];

const CONNECTOR: [&str; 7] = [
    "discover", "prepare", "pull", "read", "push", "poll", "receive",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_misdeed_costs_its_own_call_and_has_a_code() {
    let names = ["hostile", "hostile-mapping"];
    let mut plugins = Vec::new();
    for limits in [limits(), hasty()] {
        for name in names {
            plugins.push(loaded(name, limits.clone()).await);
        }
    }
    let mut cases = BY_ANSWER.to_vec();
    for function in CONNECTOR.iter().chain(&["describe", "map-batch"]) {
        for (misdeed, code, knob) in BY_CODE {
            cases.push((*function, *misdeed, *code, *knob));
        }
    }
    let mut caught = 0;
    for (function, misdeed, code, knob) in cases {
        let is_hasty = knob == "cpu-ms-max";
        let is_mapping = !CONNECTOR.contains(&function);
        let plugin = &plugins[2 * usize::from(is_hasty) + usize::from(is_mapping)];
        let plot = json!({ "call": function, "misdeed": misdeed }).to_string();
        let mut hostile = caller(plugin, plot);
        // A cursor needs a few steps to go back or to stand still.
        let mut ended = hostile.call(function).await;
        for _ in 0..3 {
            if ended.is_ok() && function == "pull" {
                ended = hostile.call(function).await;
            }
        }
        let found = ended.as_ref().err().map_or("ok", CallError::code);
        assert_eq!(found, code, "{function}, {misdeed}: {ended:?}");
        if let Err(error) = &ended {
            let named = match error {
                CallError::Breach { knob, message, .. } if message.contains(knob) => knob,
                _ => "",
            };
            assert_eq!(named, knob, "{function}, {misdeed}: {error}");
            caught += 1;
        }
        let well = caller(plugin, "{}".to_owned()).call(function).await;
        assert_eq!(well, Ok(()), "after {misdeed} in {function}");
    }
    let seen: Vec<_> = plugins.iter().map(|plugin| plugin.conduct()).collect();
    let counted: u64 = seen
        .iter()
        .map(|seen| seen.breached + seen.trapped + seen.broken)
        .sum();
    assert_eq!(counted, caught);
    assert!(seen.iter().all(|seen| seen.last.is_some()), "{seen:?}");
}

fn caller(plugin: &Arc<Plugin>, config: String) -> Caller {
    Caller {
        plugin: Arc::clone(plugin),
        endpoint: "things",
        config,
        cursor: None,
    }
}

/// Two databases may stand at the same position; going back in one is not going back in the other.
#[tokio::test]
async fn endpoints_of_one_plugin_have_cursors_of_their_own() {
    let plugin = loaded("hostile", limits()).await;
    let plot = json!({ "call": "pull", "misdeed": "cursor-back" }).to_string();
    let mut one = caller(&plugin, plot.clone());
    for _ in 0..2 {
        assert_eq!(one.call("pull").await, Ok(()));
    }
    let mut other = Caller {
        endpoint: "elsewhere",
        cursor: Some(vec![3]),
        ..caller(&plugin, plot)
    };
    assert_eq!(other.call("pull").await, Ok(()));
    assert_eq!(other.cursor, Some(vec![1]));
    assert_eq!(one.call("pull").await, Ok(()));
    let back = one.call("pull").await.expect_err("back to 1");
    assert_eq!(back.code(), "cursor-went-back");
}

/// A connector in Rust takes events: the export is there, and the delivery becomes changes.
#[tokio::test]
async fn a_connector_in_rust_takes_events() {
    let plugin = loaded("hostile", limits()).await;
    assert!(plugin.has_inbound());
    let call = Call {
        sync: "".into(),
        function: "",
        lane: Lane::Normal,
        may_write: false,
        tokens: Arc::default(),
    };
    let context = ConnectorContext {
        config: "{}".to_owned(),
        now: 0,
        rows_max: 10,
    };
    let received = plugin
        .receive(Arc::new(Nobody("")), call.clone(), &context, delivery())
        .await
        .expect("understood");
    assert_eq!(received.deliveries, ["d-1"]);
    assert_eq!(received.acknowledgement.status, 200);
    let [changes] = &received.changes[..] else {
        panic!("{received:?}");
    };
    assert_eq!(
        (changes.object.as_str(), changes.ids.text(0)),
        ("things", "thing-9")
    );
    let torn = EventRequest {
        body: vec![0xff],
        ..delivery()
    };
    let refused = plugin
        .receive(Arc::new(Nobody("")), call, &context, torn)
        .await;
    assert_eq!(refused.expect_err("refused").code(), "not-text");
}

const CONFIG: &str = r#"
[plugins.sqlite]
file = "{plugins}/sqlite.wasm"
[plugins.hostile]
file = "{plugins}/hostile.wasm"
limits = { memory-bytes-max = 8388608 }
[plugins.hostile-mapping]
file = "{plugins}/hostile-mapping.wasm"
limits = { cpu-ms-max = 200 }

[endpoints.db]
plugin = "sqlite"
origins = { main = "sqlite:things.db" }

[endpoints.good]
plugin = "hostile"
origins = { main = "sqlite:good.db" }
[endpoints.poisoned]
plugin = "hostile"
origins = { main = "sqlite:poisoned.db" }
[endpoints.crashing]
plugin = "hostile"
origins = { main = "sqlite:crashing.db" }
[endpoints.crashing.config]
call = "push"
misdeed = "memory-bomb"
[endpoints.backwards]
plugin = "hostile"
origins = { main = "sqlite:backwards.db" }
[endpoints.backwards.config]
call = "pull"
misdeed = "cursor-back"
"#;

const SYNCS: [&str; 4] = ["good", "poisoned", "crashing", "backwards"];
const ROWS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn counted(status: &Status, name: &str) -> (u64, u64, SyncState, String) {
    let Some(sync) = status.syncs.iter().find(|sync| sync.name == name) else {
        return Default::default();
    };
    let error = sync.reason.as_ref().or(sync.last_error.as_ref());
    let code = error.map(|told| told.code.clone()).unwrap_or_default();
    (sync.written, sync.dead, sync.state, code)
}

/// One host with four syncs, of which one behaves: that one goes on, the poisoned record stands in the dead
/// letters, and the status says who did what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_outlives_its_plugins() -> Result<()> {
    let plugins = built::plugins(&["sqlite", "hostile", "hostile-mapping"]).canonicalize()?;
    let mut config = CONFIG.replace("{plugins}", &plugins.display().to_string());
    for name in SYNCS {
        config += &things::sync(name);
    }
    config += "[syncs.poisoned.mapping.config]\ncall = \"map-batch\"\nmisdeed = \"loop\"\nvictim = \"Mallory\"\n";
    let mut host = Host::new(&config)?;
    let database = things::database(&host, "things.db")?;
    for name in SYNCS {
        let names = (0..ROWS).map(|row| match row {
            7 => "Mallory".to_owned(),
            _ => format!("Ada {row}"),
        });
        things::table(&database, name, names)?;
        things::sink(&host, name)?;
    }
    host.start()?;
    let status = host
        .until(PATIENCE, |status| {
            let seen = SYNCS.map(|name| counted(status, name));
            let [good, poisoned, crashing, backwards] = &seen;
            let ready = good.0 == ROWS
                && (poisoned.0, poisoned.1) == (ROWS - 1, 1)
                && (crashing.0, &*crashing.3) == (0, "memory-limit")
                && backwards.3 == "cursor-went-back";
            Ok(if ready {
                Vec::new()
            } else {
                vec![format!("{seen:?}")]
            })
        })
        .await?;
    let letters = host.dead_letters().await?;
    let mut letters = letters.iter().filter(|letter| letter.sync == "poisoned");
    let letter = letters.next().context("a dead letter")?;
    ensure!(
        letter.left.as_deref() == Some("8") && letters.next().is_none(),
        "{letter:?}"
    );
    ensure!(letter.reason.code == "cpu-limit", "{letter:?}");
    ensure!(letter.reason.message.contains("cpu-ms-max"), "{letter:?}");
    let plugin = |name: &str| {
        let found = status.plugins.iter().find(|plugin| plugin.name == name);
        found.context("the plugin's status")
    };
    let (connector, mapping) = (plugin("hostile")?, plugin("hostile-mapping")?);
    ensure!(
        connector.breached > 0 && connector.broken > 0 && connector.last_failure.is_some(),
        "{connector:?}"
    );
    ensure!(
        mapping.breached > 0 && mapping.trapped + mapping.broken == 0,
        "{mapping:?}"
    );

    // What comes later goes through as if nobody had misbehaved.
    database.execute("INSERT INTO good (name) VALUES ('later')", [])?;
    database.execute("UPDATE poisoned SET name = 'cured' WHERE id = 8", [])?;
    host.until(PATIENCE, |status| {
        let (good, poisoned) = (counted(status, "good"), counted(status, "poisoned"));
        let ready = good.0 == ROWS + 1 && (poisoned.0, poisoned.1) == (ROWS, 0);
        let story = format!("{good:?} {poisoned:?}");
        Ok(if ready { Vec::new() } else { vec![story] })
    })
    .await?;
    host.stop().await
}
