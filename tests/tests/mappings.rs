//! The mappings that come with tidegate and the templates, built by the command that authors use and run in the
//! sandbox; field-map beside itself as native Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tidegate_core::batch::{Batch, Cell, Column, DataType};
use tidegate_core::plugin::{Direction, FieldType, Mapped, MappingContext};
use tidegate_plugin_field_map::FieldMap;
use tidegate_sandbox::{BuildOptions, Limits, Plugin, Sandbox, Settings, build_plugin, inspect};
use tidegate_sdk::Mapping;
use tidegate_tests::native;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Guests share one cargo target folder, so they are built one after the other.
fn built(folder: &str) -> Vec<u8> {
    static BUILDING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    static SET_UP: OnceLock<()> = OnceLock::new();
    let _one_at_a_time = BUILDING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    SET_UP.get_or_init(|| {
        let status = Command::new(root().join("sdk/setup-guests")).status();
        assert!(status.expect("bash").success(), "sdk/setup-guests failed");
    });
    let name = Path::new(folder)
        .file_name()
        .expect("a name")
        .to_string_lossy();
    let options = BuildOptions {
        folder: root().join(folder),
        out: Some(root().join(format!(
            "target/plugins/{}.wasm",
            match folder {
                "sdk/rust/template" => "my-mapping",
                "sdk/python/template" => "my-py-mapping",
                _ => &name,
            }
        ))),
        force: false,
    };
    let built = build_plugin(&options, &|line| eprintln!("{line}"))
        .unwrap_or_else(|error| panic!("{folder}: {error}"));
    std::fs::read(built.file).expect("the component")
}

async fn loaded(folder: &str) -> Arc<Plugin> {
    let bytes = built(folder);
    let inspection = inspect(&bytes).expect("an inspection");
    for import in &inspection.surfaces.imports {
        let is_ours = import.name.starts_with("tidegate:plugin/");
        assert!(
            is_ours || import.name.starts_with("wasi:"),
            "{folder} imports {}",
            import.name
        );
    }
    let settings = Settings {
        cache_dir: Some(tidegate_tests::built::compiled()),
        ..Settings::default()
    };
    let sandbox = Sandbox::new(settings).expect("a sandbox");
    sandbox
        .load(bytes, Limits::default())
        .await
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
}

fn context(
    config: serde_json::Value,
    left: &[(&str, DataType)],
    right: &[(&str, DataType)],
) -> MappingContext {
    let fields = |side: &[(&str, DataType)]| {
        side.iter()
            .map(|(name, data_type)| FieldType {
                name: (*name).to_owned(),
                data_type: *data_type,
                nullable: true,
                length_max: None,
                scale: None,
            })
            .collect()
    };
    MappingContext {
        config: config.to_string(),
        left: fields(left),
        right: fields(right),
    }
}

fn column(name: &str, data_type: DataType, cells: &[Cell<'_>]) -> Column {
    let mut column = Column::new(name, data_type);
    for cell in cells {
        assert!(column.push(*cell), "{name}: {cell:?}");
    }
    column
}

/// Native and sandboxed, the same rows give the same batch and the same errors, whatever is in them.
#[tokio::test]
async fn field_map_is_the_same_inside_and_outside_the_sandbox() {
    let plugin = loaded("plugins/field-map").await;
    let context = context(
        json!({ "rules": [
            { "left": "name", "right": "Name" },
            { "left": "email", "right": "Email", "steps": ["trim", "lower", "empty-to-null"] },
            { "left": "status", "right": "Status__c", "table": { "active": "Active", "gone": "Former" } },
            { "left": "score", "right": "Score__c", "scale": 2, "rounding": "half-even" },
            { "left": "born", "right": "Birthdate" },
            { "left": ["street", "city"], "right": "Address", "separator": "\n" },
            { "right": "Source__c", "constant": "tidegate" },
        ]}),
        &[
            ("name", DataType::Text),
            ("email", DataType::Text),
            ("status", DataType::Text),
            ("score", DataType::Decimal),
            ("born", DataType::Text),
            ("street", DataType::Text),
            ("city", DataType::Text),
        ],
        &[
            ("Name", DataType::Text),
            ("Email", DataType::Text),
            ("Status__c", DataType::Text),
            ("Score__c", DataType::Decimal),
            ("Birthdate", DataType::Date),
            ("Address", DataType::Text),
            ("Source__c", DataType::Text),
        ],
    );
    let rules = plugin.describe(&context).await.expect("rules");
    assert_eq!(rules.len(), 13);
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let batch = messy(&mut random, 300);
    let mapped = plugin
        .map_batch(&context, Direction::LeftToRight, batch.clone())
        .await
        .expect("a mapped batch");
    let native = natively(&context, Direction::LeftToRight, &batch);
    assert_eq!(mapped, native, "seed {seed}");
    assert!(!mapped.errors.is_empty(), "messy rows have errors");
    let back = plugin
        .map_batch(&context, Direction::RightToLeft, mapped.batch.clone())
        .await
        .expect("a mapped batch");
    assert_eq!(
        back,
        natively(&context, Direction::RightToLeft, &mapped.batch),
        "seed {seed}"
    );
    let wrong = MappingContext {
        config: json!({ "rules": [{ "left": "a" }, { "right": "b" }] }).to_string(),
        ..context
    };
    let error = plugin.describe(&wrong).await.expect_err("mistakes");
    let text = error.to_string();
    assert!(
        text.contains("rules[0]") && text.contains("rules[1]"),
        "{text}"
    );
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "active",
    "gone",
    "Zoë 🎈",
    "1969-12-31",
    "2001-02-29",
    "O'Neil \"x\"",
    " A@B.C ",
    "a\nb",
    "\u{0}",
];
const DECIMALS: &[&str] = &[
    "0",
    "-0.005",
    "1.50",
    "2.345",
    "99999999999999999999.995",
    "007",
];

fn messy(random: &mut ChaCha8Rng, rows: usize) -> Batch {
    let mut columns = Vec::new();
    for name in [
        "name", "email", "status", "score", "born", "street", "city", "unmapped",
    ] {
        let is_score = name == "score";
        let data_type = if is_score {
            DataType::Decimal
        } else {
            DataType::Text
        };
        let mut column = Column::new(name, data_type);
        for _ in 0..rows {
            let cell = match random.random_range(0..10) {
                0 => Cell::Null,
                1 => Cell::Unset,
                _ if is_score => Cell::Decimal(DECIMALS[random.random_range(0..DECIMALS.len())]),
                _ => Cell::Text(TEXTS[random.random_range(0..TEXTS.len())]),
            };
            assert!(column.push(cell));
        }
        columns.push(column);
    }
    Batch { rows, columns }
}

fn natively(context: &MappingContext, direction: Direction, batch: &Batch) -> Mapped {
    let mapped = FieldMap::map_batch(
        &native::context(context),
        native::direction(direction),
        native::batch(batch),
    );
    native::back(mapped.expect("mapped"))
}

/// A second language keeps the interface honest.
#[tokio::test]
async fn a_mapping_in_python_runs_in_the_sandbox() {
    let plugin = loaded("plugins/normalise-py").await;
    let context = context(
        json!({ "fields": [
            { "left": "email", "right": "Email", "kind": "email" },
            { "left": "phone", "right": "Phone", "kind": "phone" },
            { "left": "score", "right": "Score__c" },
        ]}),
        &[],
        &[],
    );
    let rules = plugin.describe(&context).await.expect("rules");
    assert_eq!(rules.len(), 6);
    let batch = Batch {
        rows: 3,
        columns: vec![
            column(
                "email",
                DataType::Text,
                &[Cell::Text(" A@B.ORG"), Cell::Null, Cell::Text("nobody")],
            ),
            column(
                "phone",
                DataType::Text,
                &[Cell::Text("+44 (20) 1"), Cell::Unset, Cell::Null],
            ),
            column(
                "score",
                DataType::Decimal,
                &[Cell::Decimal("1.50"), Cell::Decimal("-0"), Cell::Null],
            ),
        ],
    };
    let mapped = plugin
        .map_batch(&context, Direction::LeftToRight, batch.clone())
        .await
        .expect("a mapped batch");
    let cells =
        |name: &str| -> Vec<Cell<'_>> { (0..3).map(|row| mapped.batch.cell(row, name)).collect() };
    assert_eq!(
        cells("Email"),
        [Cell::Text("a@b.org"), Cell::Null, Cell::Unset]
    );
    assert_eq!(
        cells("Phone"),
        [Cell::Text("+44201"), Cell::Unset, Cell::Null]
    );
    assert_eq!(
        cells("Score__c"),
        [Cell::Decimal("1.50"), Cell::Decimal("-0"), Cell::Null]
    );
    assert_eq!(mapped.errors.len(), 1);
    assert_eq!(
        (mapped.errors[0].row, mapped.errors[0].code.as_str()),
        (2, "not-an-email")
    );
    let wrong = MappingContext {
        config: json!({ "fields": [{ "left": 1 }] }).to_string(),
        ..context
    };
    let error = plugin.describe(&wrong).await.expect_err("mistakes");
    assert!(error.to_string().contains("fields[0].left"), "{error}");
}

/// Its own tests, in CPython over the bindings that componentize-py generates.
#[test]
fn the_python_mapping_passes_its_own_tests() {
    // Building sets the toolchain up.
    built("plugins/normalise-py");
    let root = root().canonicalize().expect("the workspace");
    let environment = root.join("target/guests/python/bin");
    let bindings = tempfile::tempdir().expect("a folder");
    let generated = Command::new(environment.join("componentize-py"))
        .args(["-d"])
        .arg(root.join("wit/v0.1"))
        .args(["-w", "mapping-plugin", "bindings"])
        .arg(bindings.path())
        .output()
        .expect("componentize-py");
    assert!(
        generated.status.success(),
        "{}",
        String::from_utf8_lossy(&generated.stderr)
    );
    let plugin = root.join("plugins/normalise-py");
    let paths = [bindings.path(), &root.join("sdk/python"), &plugin];
    let tested = Command::new(environment.join("python"))
        .current_dir(&plugin)
        .env("PYTHONPATH", std::env::join_paths(paths).expect("paths"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "unittest", "discover", "tests"])
        .output()
        .expect("python");
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(tested.status.success(), "{said}");
    assert!(said.contains("Ran ") && !said.contains("Ran 0 "), "{said}");
}

/// What an author copies builds and runs as it stands.
#[tokio::test]
async fn the_templates_build_and_run() {
    let cases = [
        (
            "sdk/rust/template",
            json!({ "left": "a", "right": "A", "prefix": "C-" }),
            "C-007",
        ),
        (
            "sdk/python/template",
            json!({ "left": "a", "right": "A", "country": "DE" }),
            "DE-007",
        ),
    ];
    for (folder, config, expected) in cases {
        let plugin = loaded(folder).await;
        let context = context(config, &[], &[]);
        assert_eq!(plugin.describe(&context).await.expect("rules").len(), 2);
        let batch = Batch {
            rows: 2,
            columns: vec![column(
                "a",
                DataType::Text,
                &[Cell::Text("007"), Cell::Null],
            )],
        };
        let there = plugin
            .map_batch(&context, Direction::LeftToRight, batch.clone())
            .await
            .expect("a mapped batch");
        assert_eq!(there.batch.cell(0, "A"), Cell::Text(expected), "{folder}");
        let back = plugin
            .map_batch(&context, Direction::RightToLeft, there.batch.clone())
            .await
            .expect("a mapped batch");
        assert_eq!(back.batch, batch, "{folder}");
    }
}
