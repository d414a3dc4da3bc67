//! A connector that misbehaves as its config says; else it is a bottomless sink: it knows one object, takes
//! what is pushed, reports nothing, and understands one kind of event.

use tidegate_sdk::{
    Acknowledgement, Advice, Batch, COMMITTED_UNKNOWN, Catalog, ChangeSet, ChangeSetBuilder,
    ChangeStream, Connector, Context, DataType, Demand, EventRequest, Fault, Field, Gateway,
    Inbound, ObjectSchema, Operations, Packed, Page, PrepareMode, Progress, Received, RowOutcome,
    Selection, Sql, Step, StreamKind, Values,
};
use tidegate_test_misdeeds::{Plot, commit, huge_text};

const OBJECT: &str = "things";
const NAME: &str = "name";
const KEY: &str = "key";
const WAIT_MS: u32 = 500;

/// The connector that the component exports.
#[derive(Debug)]
pub struct Hostile;

/// Does what a plugin can do by its code and by its way out, and gives back the misdeeds that are done in the
/// answer.
fn misdeed<'a>(
    gateway: &dyn Gateway,
    context: &Context,
    call: &str,
    batches: impl IntoIterator<Item = &'a Batch>,
) -> Result<String, Fault> {
    let plot = context.config::<Plot>()?;
    let misdeed = plot.strikes(call, batches).unwrap_or_default();
    commit(misdeed);
    match misdeed {
        "host-calls" => loop {
            gateway.fetch_batch(&[]);
        },
        "requests" => loop {
            gateway.fetch_batch(&vec![Sql::new("SELECT 1").build(); 100]);
        },
        _ => Ok(misdeed.to_owned()),
    }
}

impl Connector for Hostile {
    fn discover(
        gateway: &dyn Gateway,
        context: &Context,
        _objects: Vec<String>,
    ) -> Result<Catalog, Fault> {
        let misdeed = misdeed(gateway, context, "discover", [])?;
        let mut fields = vec![
            Field::new(NAME, DataType::Text),
            Field {
                upsert_key: true,
                ..Field::new(KEY, DataType::Text)
            },
        ];
        if misdeed == "same-field" {
            fields.push(Field::new(NAME, DataType::Integer));
        }
        let object = |name: &str| ObjectSchema {
            name: name.to_owned(),
            label: name.to_owned(),
            fields: fields.clone(),
            id_fields: vec![KEY.to_owned()],
            readable: true,
            writable: true,
            reports_deletes: true,
        };
        let mut objects = vec![object(OBJECT)];
        if misdeed == "object-not-asked" {
            objects.push(object("secrets"));
        }
        Ok(Catalog {
            identity: "a sink".to_owned(),
            objects,
        })
    }

    fn prepare(
        gateway: &dyn Gateway,
        context: &Context,
        _demands: Vec<Demand>,
        _mode: PrepareMode,
    ) -> Result<Vec<Step>, Fault> {
        let misdeed = misdeed(gateway, context, "prepare", [])?;
        let steps = if misdeed == "unnamed-step" { 1 } else { 0 };
        Ok((0..steps)
            .map(|_| Step {
                id: String::new(),
                description: "nothing".to_owned(),
                done: true,
            })
            .collect())
    }

    fn pull(
        gateway: &dyn Gateway,
        context: &Context,
        streams: Vec<ChangeStream>,
    ) -> Result<Vec<Result<Page, Fault>>, Fault> {
        let misdeed = misdeed(gateway, context, "pull", [])?;
        if misdeed == "lost-page" {
            return Ok(Vec::new());
        }
        Ok(streams
            .iter()
            .map(|stream| Ok(page(stream, &misdeed)))
            .collect())
    }

    fn read(
        gateway: &dyn Gateway,
        context: &Context,
        selection: Selection,
        _by: Option<String>,
        _keys: Packed,
    ) -> Result<ChangeSet, Fault> {
        let misdeed = misdeed(gateway, context, "read", [])?;
        let mut found = ChangeSetBuilder::new(selection.object, [(NAME, DataType::Text)]);
        match &*misdeed {
            "id-not-asked" => drop(found.upsert("nobody-asked", "", COMMITTED_UNKNOWN)),
            "hint" => found.hint("nobody-asked", "", COMMITTED_UNKNOWN),
            _ => {}
        }
        Ok(found.finish())
    }

    fn push(
        gateway: &dyn Gateway,
        context: &Context,
        operations: Operations,
    ) -> Result<Progress, Fault> {
        let batches = operations.groups.iter().map(|group| &group.batch);
        let misdeed = misdeed(gateway, context, "push", batches)?;
        let mut outcomes = Vec::new();
        for group in &operations.groups {
            for (row, token) in group.tokens.iter().enumerate() {
                let id = match group.ids.text(row) {
                    "" => format!("thing-{token}"),
                    known => known.to_owned(),
                };
                outcomes.push(RowOutcome::written(*token, id, true, ""));
            }
        }
        match &*misdeed {
            "token-not-given" => outcomes.push(RowOutcome::unknown(u64::MAX, "who is this")),
            "two-outcomes" => outcomes.extend(outcomes.clone()),
            "no-id" => outcomes
                .iter_mut()
                .for_each(|row| *row = RowOutcome::written(row.token, "", true, "")),
            "huge-answer" => outcomes.iter_mut().for_each(|row| {
                *row = RowOutcome::refused(row.token, "x", huge_text(), Vec::new(), Advice::Park);
            }),
            _ => {}
        }
        Ok(Progress::done(outcomes))
    }

    fn poll(gateway: &dyn Gateway, context: &Context, _job: Vec<u8>) -> Result<Progress, Fault> {
        let misdeed = misdeed(gateway, context, "poll", [])?;
        Ok(Progress::done(match &*misdeed {
            "token-not-given" => vec![RowOutcome::unknown(u64::MAX, "who is this")],
            _ => Vec::new(),
        }))
    }
}

/// Nothing new, unless the plot says otherwise: then one record, and a cursor that runs to 3 and back to 1.
fn page(stream: &ChangeStream, misdeed: &str) -> Page {
    let before = stream
        .cursor
        .as_ref()
        .and_then(|cursor| cursor.first())
        .copied();
    let mut page = Page {
        changes: Vec::new(),
        aliases: Vec::new(),
        cursor: vec![before.unwrap_or(0)],
        more: false,
        wait_ms: (stream.kind == StreamKind::Changes).then_some(WAIT_MS),
        gap: None,
    };
    if stream.kind == StreamKind::Snapshot {
        return page;
    }
    let one = |object: &str, field: &str| {
        let mut changes = ChangeSetBuilder::new(object, [(field, DataType::Text)]);
        changes.upsert("thing-1", "", COMMITTED_UNKNOWN);
        changes.finish()
    };
    let next = before.unwrap_or(0) % 3 + 1;
    match misdeed {
        "cursor-back" => {
            page.cursor = vec![next];
            page.changes = vec![one(OBJECT, NAME)];
        }
        "cursor-still" => page.more = before.is_some(),
        "object-not-asked" => page.changes = vec![one("secrets", NAME)],
        "field-not-asked" => page.changes = vec![one(OBJECT, "password")],
        "ragged-ids" => {
            page.changes = vec![one(OBJECT, NAME)];
            page.changes[0].ids.push("thing-2");
        }
        "torn-text" => {
            page.changes = vec![one(OBJECT, NAME)];
            tear(&mut page.changes[0]);
        }
        "too-many-rows" => {
            page.changes = (0..=stream.rows_max).map(|_| one(OBJECT, NAME)).collect();
        }
        _ => {}
    }
    page
}

/// Half of a character, and a length that the bytes do not have.
fn tear(changes: &mut ChangeSet) {
    for column in &mut changes.batch.columns {
        column.states.clear();
        if let Values::Text(text) = &mut column.values {
            text.bytes = vec![0xc3];
            text.ends = vec![2];
        }
    }
}

impl Inbound for Hostile {
    /// The body is a record's id; the delivery's name stands in a header.
    fn receive(
        gateway: &dyn Gateway,
        context: &Context,
        request: EventRequest,
    ) -> Result<Received, Fault> {
        let misdeed = misdeed(gateway, context, "receive", [])?;
        let Ok(id) = std::str::from_utf8(&request.body) else {
            return Err(Fault::refused("not-text", "the body must be a record's id"));
        };
        let mut changes = ChangeSetBuilder::new(OBJECT, [(NAME, DataType::Text)]);
        changes.hint(id, "", COMMITTED_UNKNOWN);
        let delivery = request.header("X-Delivery").unwrap_or_default();
        let mut received = Received::changes(delivery, vec![changes.finish()]);
        if misdeed == "no-status" {
            received.acknowledgement = Acknowledgement::status(7);
        }
        Ok(received)
    }
}

tidegate_sdk::export_inbound_connector!(Hostile);
