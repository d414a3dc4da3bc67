//! SQL goes the way of every other call: it is held, paced, and noted.

use rusqlite::Connection;
use tidegate_core::batch::Batch;
use tidegate_core::plugin::{FaultKind, Operation, Request, SqlRequest};
use tidegate_gateway::{AuthSpec, Outside, Readiness};

use crate::kit::{Bench, code, manifest, pushing, reading, request, spec};

const POOLS: &str = r#"
    [[pools]]
    name = "calls"
    limit = 1
    window = { rolling = "24h" }
    scope = "account"
"#;

fn database(more: &str) -> (tempfile::TempDir, Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.db");
    let connection = Connection::open(&path).expect("a database");
    let schema = "CREATE TABLE people(name TEXT); INSERT INTO people VALUES ('Ada Lovelace')";
    connection.execute_batch(schema).expect("a schema");
    let origin = format!("sqlite:{}", path.display());
    let spec = spec(&[("main", &origin)], manifest(more), AuthSpec::None);
    (folder, Bench::of(spec))
}

fn sql(statement: &str, rows: &[u64]) -> Request {
    let sql = SqlRequest {
        statement: statement.to_owned(),
        parameters: Batch {
            rows: 1,
            columns: Vec::new(),
        },
        result_types: Vec::new(),
        transaction: None,
        rows_max: 1_000,
    };
    request(Operation::Sql(sql), rows)
}

const SELECT: &str = "SELECT name FROM people";
const UPDATE: &str = "UPDATE people SET name = 'Ada'";

#[tokio::test]
async fn what_is_paused_asks_no_database() {
    type Switch = fn(&Bench);
    let cases: [(Switch, Switch); 2] = [
        (
            |bench| bench.gateway.pause(),
            |bench| bench.gateway.resume(),
        ),
        (
            |bench| bench.gateway.account().pause(),
            |bench| bench.gateway.account().resume(),
        ),
    ];
    for (pause, resume) in cases {
        let (_folder, bench) = database("");
        pause(&bench);
        let results = bench.write(vec![sql(UPDATE, &[1])]).await;
        let fault = results[0].as_ref().expect_err("paused");
        assert_eq!((fault.kind, &*fault.code), (FaultKind::Throttled, "paused"));
        assert_eq!(bench.gateway.counters().statements, 0);
        assert_eq!(bench.journal.intents.lock().expect("lock").len(), 0);
        // A call that was under way waits, and goes on when it may.
        let call = reading();
        let fetch = bench.gateway.fetch_batch(&call, vec![sql(SELECT, &[])]);
        tokio::pin!(fetch);
        assert!(futures::poll!(&mut fetch).is_pending(), "it waits");
        assert_eq!(bench.gateway.counters().statements, 0);
        resume(&bench);
        assert!(bench.passing(fetch).await[0].is_ok());
    }
}

#[tokio::test]
async fn a_write_whose_intent_can_not_be_kept_draws_nothing() {
    let (_folder, bench) = database(POOLS);
    *bench.journal.fails.lock().expect("lock") = true;
    let results = bench.write(vec![sql(UPDATE, &[1])]).await;
    assert_eq!(code(&results[0]), "journal-failed");
    assert_eq!(bench.gateway.counters().statements, 0);
    assert_eq!(
        bench.gateway.readiness(tidegate_gateway::Lane::Critical, 1),
        Readiness::Now
    );
    *bench.journal.fails.lock().expect("lock") = false;
    let call = tidegate_gateway::Call {
        lane: tidegate_gateway::Lane::Critical,
        ..pushing()
    };
    let write = bench.gateway.write_batch(&call, vec![sql(UPDATE, &[1])]);
    assert!(bench.passing(write).await[0].is_ok());
}

#[tokio::test]
async fn what_a_database_did_is_noted() {
    for (more, pool, units) in [("", "", 0), (POOLS, "calls", 1)] {
        let (_folder, bench) = database(more);
        let call = tidegate_gateway::Call {
            lane: tidegate_gateway::Lane::Critical,
            ..reading()
        };
        let fetch = bench.gateway.fetch_batch(&call, vec![sql(SELECT, &[])]);
        assert!(bench.passing(fetch).await[0].is_ok());
        let usage = bench.gateway.account().usage();
        let noted = usage.by(i64::MIN, |_, spender| {
            (spender.pool.to_string(), spender.operation.to_string())
        });
        let spent = noted[&(pool.to_owned(), "pull".to_owned())];
        assert_eq!((spent.calls, spent.units), (1, units));
        let moved = SELECT.len() + "Ada Lovelace".len();
        assert_eq!(spent.bytes, moved as u64);
    }
}
