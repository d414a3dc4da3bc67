//! What an author sees: records without offsets, requests without boilerplate, a vendor faked in memory.

use std::cell::RefCell;

use tidegate_sdk::gateway::Gateway;
use tidegate_sdk::request::{Operation, Request};
use tidegate_sdk::response::{Answer, HttpResponse, Response};
use tidegate_sdk::{
    Batch, BatchBuilder, COMMITTED_UNKNOWN, ChangeKind, ChangeSetBuilder, Column, DataType,
    Executed, Fault, FaultKind, Feed, Http, Packed, Sql, Value, WrongField, fetch, segment, write,
};

/// One value of every type that looks unlike its neighbours.
const VALUES: &[Value<'static>] = &[
    Value::Boolean(true),
    Value::Integer(i64::MIN),
    Value::Float(-0.1),
    Value::Decimal("-1.50"),
    Value::Text("Zoë 🎈"),
    Value::Timestamp(-1),
    Value::Date(-719_162),
    Value::Bytes(&[0, 255]),
    Value::Json(r#"{"a":[1]}"#),
];

#[test]
fn every_type_reads_as_it_was_written_around_null_and_unset() {
    for value in VALUES {
        let data_type = value.data_type().expect("a type");
        let orders = [
            [*value, Value::Null, Value::Unset, *value],
            [Value::Unset, *value, *value, Value::Null],
            [*value; 4],
        ];
        for rows in orders {
            let column = Column::collect("a", data_type, rows).expect("one type");
            assert_eq!(column.iter().collect::<Vec<_>>(), rows, "{data_type}");
            assert_eq!(column.is_full(), rows.iter().all(|row| row.is_value()));
            assert_eq!(column.value(4), Value::Unset, "past the end");
        }
        for other in VALUES.iter().filter(|other| *other != value) {
            let mut column = Column::new("a", data_type);
            column.push(*other).expect_err("another type");
            assert!(column.is_empty(), "a refused value leaves nothing behind");
        }
        assert_eq!(DataType::from_name(data_type.name()), Some(data_type));
    }
}

#[test]
fn a_builder_fills_what_rows_leave_out_and_refuses_what_does_not_fit() {
    let mut people = BatchBuilder::new([("name", DataType::Text), ("age", DataType::Integer)]);
    people.row().set("age", 1_i64).expect("a field");
    people.row();
    let mut row = people.row();
    row.set("name", None::<&str>).expect("a field");
    assert_eq!(
        row.set("name", "x").expect_err("twice"),
        WrongField::Twice("name".to_owned())
    );
    assert_eq!(
        row.set("nane", "x").expect_err("unknown"),
        WrongField::Unknown("nane".to_owned())
    );
    assert!(matches!(row.set("age", "x"), Err(WrongField::Type(_))));
    let people = people.finish();
    let seen: Vec<Vec<(&str, Value<'_>)>> =
        people.iter().map(|row| row.fields().collect()).collect();
    assert_eq!(
        seen,
        [
            vec![("age", Value::Integer(1))],
            vec![],
            vec![("name", Value::Null)]
        ]
    );
    assert_eq!(
        people.columns.iter().map(Column::len).collect::<Vec<_>>(),
        [3, 3]
    );
}

#[test]
fn changes_keep_their_lists_even() {
    let mut changes = ChangeSetBuilder::new("people", [("name", DataType::Text)]);
    changes.delete("1", "v1", 5);
    changes
        .upsert("2", "", COMMITTED_UNKNOWN)
        .set("name", "Ada")
        .expect("a field");
    changes.hint("3", "v3", 7);
    let set = changes.finish();
    let kinds = [ChangeKind::Delete, ChangeKind::Upsert, ChangeKind::Hint].map(|kind| kind as u8);
    assert_eq!(set.kinds, kinds);
    assert_eq!(set.ids.texts().collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(set.versions.texts().collect::<Vec<_>>(), ["v1", "", "v3"]);
    assert_eq!(set.committed, [5, i64::MIN, 7]);
    assert_eq!(set.batch.column("name").map(Column::len), Some(3));
}

#[test]
fn packed_values_are_what_was_packed() {
    let texts = ["", "a", "", "🎈", ""];
    let packed: Packed = texts.into_iter().collect();
    assert_eq!(packed.texts().collect::<Vec<_>>(), texts);
    assert_eq!(packed.get(5), b"", "past the end");
}

/// Answers with what it was given, one for one, and remembers what it was asked.
struct Fake {
    status: u16,
    body: &'static str,
    results: usize,
    asked: RefCell<Vec<Request>>,
}

impl Fake {
    fn new(status: u16, body: &'static str) -> Self {
        Self {
            status,
            body,
            results: 1,
            asked: RefCell::default(),
        }
    }

    fn answer(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        self.asked.borrow_mut().extend_from_slice(requests);
        let response = Response {
            answer: Answer::Http(HttpResponse {
                status: self.status,
                headers: Vec::new(),
                body: self.body.as_bytes().to_vec(),
            }),
            age_ms: 0,
            stale: false,
        };
        vec![Ok(response); self.results]
    }
}

impl Gateway for Fake {
    fn fetch_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        self.answer(requests)
    }

    fn write_batch(&self, requests: &[Request]) -> Vec<Result<Response, Fault>> {
        self.answer(requests)
    }
}

#[test]
fn requests_say_what_the_author_said() {
    let fake = Fake::new(200, "[1,2]");
    let request = Http::patch(format!("/people/{}", segment("a/b ü")))
        .query("q", "x y")
        .header("X-Thing", "1")
        .json(&vec![1, 2])
        .expect("JSON")
        .origin("bulk")
        .cost("daily", 3)
        .rows([7, 8])
        .idempotent();
    let numbers: Vec<i32> = write(&fake, request)
        .and_then(Response::into_http)
        .and_then(|response| response.json())
        .expect("numbers");
    assert_eq!(numbers, [1, 2]);
    let asked = fake.asked.borrow();
    let Operation::Http(http) = &asked[0].operation else {
        panic!("not HTTP: {asked:?}");
    };
    assert_eq!(http.path, "/people/a%2Fb%20%C3%BC");
    assert_eq!(
        (http.query.len(), http.body.as_slice()),
        (1, b"[1,2]".as_slice())
    );
    let headers: Vec<(&str, &str)> = http
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [("x-thing", "1"), ("content-type", "application/json")]
    );
    assert_eq!(http.origin.as_deref(), Some("bulk"));
    assert_eq!((asked[0].costs.len(), asked[0].idempotent), (1, true));
    assert_eq!(asked[0].rows, [7, 8]);
}

#[test]
fn a_statement_without_parameters_runs_once() {
    let request = Sql::new("SELECT 1")
        .transaction(4)
        .rows_max(2)
        .cached(50, ["people"])
        .build();
    let Operation::Sql(sql) = request.operation else {
        panic!("not SQL");
    };
    let once = Batch {
        rows: 1,
        columns: Vec::new(),
    };
    assert_eq!(
        (sql.parameters, sql.transaction, sql.rows_max),
        (once, Some(4), 2)
    );
    assert_eq!(request.freshness.map(|fresh| fresh.age_ms_max), Some(50));
    let feed = Feed::new("slot", vec![1], 10, 5).build();
    assert!(matches!(feed.operation, Operation::Feed(feed) if feed.position == [1]));
}

#[test]
fn answers_against_the_contract_are_faults_that_show_no_body() {
    let bodies = [
        ("<html>secret</html>", "not JSON"),
        (r"[1, 2", "cut off"),
        (r#"{"secret": 1}"#, "another shape"),
    ];
    for (body, words) in bodies {
        let fault = fetch(&Fake::new(200, body), Http::get("/"))
            .and_then(Response::into_http)
            .and_then(|response| response.json::<Vec<i32>>())
            .expect_err(body);
        assert_eq!(fault.kind, FaultKind::Broken);
        assert!(fault.message.contains(words), "{}", fault.message);
        assert!(!fault.message.contains("secret"), "{}", fault.message);
    }
    let as_rows = fetch(&Fake::new(200, ""), Http::get("/")).and_then(Response::into_sql);
    assert_eq!(as_rows.expect_err("rows").code, "wrong-answer");
    for results in [0, 2] {
        let fake = Fake {
            results,
            ..Fake::new(200, "")
        };
        let fault = write(&fake, Http::post("/")).expect_err("one result");
        assert_eq!(
            (fault.kind, fault.executed),
            (FaultKind::Broken, Executed::Unknown),
            "a write whose answer is lost may have happened"
        );
    }
}
