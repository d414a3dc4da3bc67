//! The whole connector over the host's own gateway: its statement guard, its types, its transactions.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidegate_core::batch as core_batch;
use tidegate_core::manifest::Manifest;
use tidegate_core::plugin as core;
use tidegate_gateway::{
    AuthSpec, Call, Dependencies, Egress, EndpointSpec, Intent, Journal, JournalError, Lane,
    Limits, Origin, Outside, SystemClock,
};
use tidegate_plugin_sqlite::component::Sqlite;
use tidegate_sdk::{
    Answer, Batch, BatchBuilder, ChangeStream, Column, Connector, Context, DataType, Demand,
    Executed, Fault, Gateway, Group, OperationKind, Operations, Outcome, Packed, Page, PrepareMode,
    Request, Response, Selection, SqlResponse, StreamKind, Value, Values,
};

use crate::library::Library;

struct Paper;

impl Journal for Paper {
    fn intend(&self, _: Intent) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Host {
    runtime: tokio::runtime::Runtime,
    gateway: Arc<tidegate_gateway::Gateway>,
    call: RefCell<Call>,
}

fn manifest() -> Manifest {
    let text = include_str!("../../plugin.toml");
    toml::from_str(text).unwrap_or_else(|error| panic!("plugin.toml: {error}"))
}

impl Host {
    fn new(library: &Library) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let spec = EndpointSpec {
            name: "db".into(),
            origins: BTreeMap::from([("main".to_owned(), Origin::Sqlite(library.path()))]),
            auth: AuthSpec::None,
            accounts: Vec::new(),
            manifest: Arc::new(manifest()),
            pools: BTreeMap::new(),
            egress: Egress::default(),
            limits: Limits::default(),
        };
        let host = Dependencies {
            clock: Arc::new(SystemClock::new()),
            journal: Arc::new(Paper),
            allowances: tidegate_gateway::Allowances::default(),
            answers: tidegate_gateway::Answers::default(),
            seed: 0,
        };
        let gateway = runtime
            .block_on(async { tidegate_gateway::Gateway::new(spec, host) })
            .expect("a gateway");
        let call = Call {
            sync: "people".into(),
            function: "discover",
            lane: Lane::Normal,
            may_write: false,
            tokens: Arc::default(),
        };
        Self {
            runtime,
            gateway,
            call: RefCell::new(call),
        }
    }

    fn during(&self, function: &'static str, tokens: &[u64]) {
        let mut call = self.call.borrow_mut();
        call.function = function;
        call.may_write = !matches!(function, "discover" | "read");
        call.tokens = Arc::new(tokens.iter().copied().collect());
    }

    fn pull(&self, cursor: Option<Vec<u8>>, kind: StreamKind) -> Page {
        self.during("pull", &[]);
        let stream = ChangeStream {
            kind,
            selections: vec![selection()],
            cursor,
            rows_max: 100,
        };
        let mut pages = Sqlite::pull(self, &context(), vec![stream]).expect("pages");
        pages.remove(0).expect("a page")
    }
}

impl Gateway for Host {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let call = self.call.borrow().clone();
        let requests = requests.iter().map(request).collect();
        let answers = self
            .runtime
            .block_on(self.gateway.fetch_batch(&call, requests));
        answers.into_iter().map(response).collect()
    }

    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        let call = self.call.borrow().clone();
        let requests = requests.iter().map(request).collect();
        let answers = self
            .runtime
            .block_on(self.gateway.write_batch(&call, requests));
        answers.into_iter().map(response).collect()
    }
}

fn request(request: &Request) -> core::Request {
    let tidegate_sdk::request::Operation::Sql(sql) = &request.operation else {
        panic!("only SQL is asked for");
    };
    core::Request {
        operation: core::Operation::Sql(core::SqlRequest {
            statement: sql.statement.clone(),
            parameters: core_batch::Batch {
                rows: sql.parameters.len(),
                columns: sql.parameters.columns.iter().map(parameter).collect(),
            },
            result_types: sql
                .result_types
                .iter()
                .map(|asked| core_batch::DataType::ALL[*asked as usize])
                .collect(),
            transaction: sql.transaction,
            rows_max: sql.rows_max,
        }),
        costs: Vec::new(),
        rows: request.rows.clone(),
        idempotent: request.idempotent,
        freshness: None,
    }
}

fn parameter(column: &Column) -> core_batch::Column {
    use core_batch::Cell;
    let data_type = core_batch::DataType::ALL[column.data_type() as usize];
    let mut copy = core_batch::Column::new(column.name.clone(), data_type);
    for value in column.iter() {
        let cell = match value {
            Value::Null => Cell::Null,
            Value::Integer(value) => Cell::Integer(value),
            Value::Float(value) => Cell::Float(value),
            Value::Text(value) => Cell::Text(value),
            Value::Bytes(value) => Cell::Bytes(value),
            other => panic!("{other:?} is no storage class"),
        };
        assert!(copy.push(cell));
    }
    copy
}

fn response(answer: Result<core::Response, core::Fault>) -> Result<Response, Fault> {
    let core::Answer::Sql(sql) = answer.map_err(fault)?.answer else {
        panic!("only SQL is answered");
    };
    let packed = |packed: core_batch::Packed| Packed {
        bytes: packed.bytes,
        ends: packed.ends,
    };
    let columns = sql.rows.columns.into_iter().map(|column| Column {
        name: column.name,
        states: column.states,
        values: match column.values {
            core_batch::Values::Integer(values) => Values::Integer(values),
            core_batch::Values::Float(values) => Values::Float(values),
            core_batch::Values::Text(values) => Values::Text(packed(values)),
            core_batch::Values::Bytes(values) => Values::Bytes(packed(values)),
            other => panic!("{other:?} is no storage class"),
        },
    });
    Ok(Response {
        answer: Answer::Sql(SqlResponse {
            rows: Batch {
                rows: sql.rows.rows as u32,
                columns: columns.collect(),
            },
            affected: sql.affected,
            truncated: sql.truncated,
        }),
        age_ms: 0,
        stale: false,
    })
}

fn fault(fault: core::Fault) -> Fault {
    let made = match fault.kind {
        core::FaultKind::Config => Fault::config(fault.code, fault.message),
        core::FaultKind::Auth => Fault::auth(fault.code, fault.message),
        core::FaultKind::Missing => Fault::missing(fault.code, fault.message),
        core::FaultKind::Refused => Fault::refused(fault.code, fault.message),
        core::FaultKind::Throttled => Fault::throttled(fault.code, fault.message, None),
        core::FaultKind::Transient => Fault::transient(fault.code, fault.message),
        core::FaultKind::Broken => Fault::broken(fault.code, fault.message),
    };
    Fault {
        executed: match fault.executed {
            core::Executed::No => Executed::No,
            core::Executed::Unknown => Executed::Unknown,
        },
        ..made
    }
}

const FIELDS: [&str; 4] = ["salesforce_id", "last_name", "score", "joined"];

fn selection() -> Selection {
    Selection {
        object: "people".to_owned(),
        fields: FIELDS.map(str::to_owned).to_vec(),
    }
}

fn context() -> Context {
    Context {
        config: "{}".to_owned(),
        // Long after whatever has happened.
        now: i64::MAX,
        rows_max: 100,
    }
}

#[test]
fn a_record_goes_there_and_back_through_the_hosts_gateway() {
    let library = Library::new(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, salesforce_id TEXT UNIQUE, \
         last_name TEXT NOT NULL, score DECIMAL(12,2), height REAL, joined TIMESTAMP)",
    );
    let host = Host::new(&library);
    let catalog =
        Sqlite::discover(&host, &context(), vec!["people".to_owned()]).expect("a catalog");
    let keys: Vec<&str> = catalog.objects[0]
        .fields
        .iter()
        .filter(|field| field.upsert_key)
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(keys, ["id", "salesforce_id"]);

    host.during("prepare", &[]);
    let Selection { object, fields } = selection();
    let demand = Demand {
        object,
        fields,
        captured: true,
        written: true,
    };
    for mode in [PrepareMode::Plan, PrepareMode::Apply, PrepareMode::Apply] {
        Sqlite::prepare(&host, &context(), vec![demand.clone()], mode).expect("steps");
    }
    let start = host.pull(None, StreamKind::Changes);

    library.execute(
        "INSERT INTO people VALUES (1, NULL, 'Ann', 1.5, 1.75, '2024-05-01 10:20:30'), \
         (2, NULL, 'Bo', 'junk', NULL, NULL)",
    );
    let page = host.pull(Some(start.cursor), StreamKind::Changes);
    let set = &page.changes[0];
    assert_eq!(set.ids.texts().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(set.batch.value(0, "score"), Value::Decimal("1.50"));
    assert_eq!(
        set.batch.value(0, "joined"),
        Value::Timestamp(1_714_558_830_000_000)
    );
    assert_eq!(
        set.batch.value(1, "score"),
        Value::Unset,
        "junk stops nobody"
    );
    let snapshot = host.pull(None, StreamKind::Snapshot);
    assert_eq!((snapshot.changes[0].len(), snapshot.more), (2, false));

    host.during("push", &[7, 8, 9]);
    let mut rows = BatchBuilder::new([
        ("salesforce_id", DataType::Text),
        ("last_name", DataType::Text),
        ("score", DataType::Decimal),
    ]);
    for (id, name) in [
        ("S1", Value::Text("Cy")),
        ("S2", Value::Null),
        ("S3", Value::Text("Di")),
    ] {
        let mut row = rows.row();
        row.set("salesforce_id", id).expect("a field");
        row.set("last_name", name).expect("a field");
        row.set("score", Value::Decimal("2.5")).expect("a field");
    }
    let operations = Operations {
        method: "statement".to_owned(),
        groups: vec![Group {
            object: "people".to_owned(),
            operation: OperationKind::Upsert,
            key: Some("salesforce_id".to_owned()),
            tokens: vec![7, 8, 9],
            ids: ["", "", ""].into_iter().collect(),
            into: Packed::new(),
            versions: Packed::new(),
            batch: rows.finish(),
        }],
        references: Vec::new(),
    };
    let progress = Sqlite::push(&host, &context(), operations).expect("progress");
    let mut said: Vec<String> = progress
        .outcomes
        .iter()
        .map(|row| match &row.outcome {
            Outcome::Written(written) => {
                format!("{} {} {}", row.token, written.id, written.created)
            }
            Outcome::Refused(refusal) => {
                format!("{} {} {:?}", row.token, refusal.code, refusal.fields)
            }
            Outcome::Unknown(why) => format!("{} {why}", row.token),
        })
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "7 3 true",
            "8 SQLITE_CONSTRAINT_NOTNULL [\"last_name\"]",
            "9 4 true",
        ]
    );
    assert_eq!(
        progress.after[0].batch.value(0, "score"),
        Value::Decimal("2.50")
    );

    host.during("read", &[]);
    let keys = ["S3", "none"].into_iter().collect();
    let by = Some("salesforce_id".to_owned());
    let found = Sqlite::read(&host, &context(), selection(), by, keys).expect("records");
    assert_eq!(found.ids.texts().collect::<Vec<_>>(), ["4"]);

    let page = host.pull(Some(page.cursor), StreamKind::Changes);
    assert_eq!(page.changes[0].len(), 2, "our own writes come back, once");
    assert_eq!(
        library.query("SELECT count(*) FROM tidegate_outbox"),
        "3",
        "what the host has is forgotten, but for the row that its cursor names"
    );
    host.during("prepare", &[]);
    Sqlite::prepare(&host, &context(), Vec::new(), PrepareMode::Remove).expect("removed");
    assert_eq!(
        library.query("SELECT count(*) FROM sqlite_master WHERE name LIKE 'tidegate%'"),
        "0"
    );
}
