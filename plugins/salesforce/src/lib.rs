//! The Salesforce connector: records of one org, over its REST API.
//!
//! A pull enters with a cursor and leaves as rows and the next cursor; a push enters as rows and leaves as one
//! outcome each. In between are a few requests, counted in `README.md`, which the host paces and sends.
//!
//! In reading order:
//! - [`config`]: the endpoint's config table
//! - [`org`]: requests to the org, and its answers as JSON
//! - [`answer`]: answers without success, as faults
//! - [`stamp`], [`id`], [`kind`]: moments, ids and values, to and from Salesforce's spelling
//! - [`soql`]: the text of queries
//! - [`describe`], [`discover`]: what objects and fields there are
//! - [`shape`]: what a reader must know of an object, and when to ask anew
//! - [`rows`]: records as rows
//! - [`cursor`]: what a stream remembers
//! - [`changes`], [`purged`], [`snapshot`]: the streams
//! - [`read`]: records by id or key
//! - [`lines`], [`push`]: rows as records, and their requests
//! - [`outcome`], [`refusal`]: what became of each row, and what to do about it
//!
//! Absent: the clock (moments come from Salesforce's answers), credentials, pacing and retries (the host's),
//! Bulk API jobs and push events.

mod config;

mod answer;
mod org;

mod id;
mod kind;
mod soql;
mod stamp;

mod describe;
mod discover;

mod rows;
mod shape;

mod changes;
mod cursor;
mod purged;
mod snapshot;

mod read;

mod lines;
mod outcome;
mod push;
mod refusal;

use tidegate_sdk::{
    Catalog, ChangeSet, ChangeStream, Connector, Context, Demand, Fault, Gateway, Operations,
    Packed, Page, PrepareMode, Progress, Selection, Step, StreamKind,
};

use crate::org::Org;

/// The connector that this crate exports.
#[derive(Debug)]
pub struct Salesforce;

impl Connector for Salesforce {
    fn discover(
        gateway: &dyn Gateway,
        context: &Context,
        objects: Vec<String>,
    ) -> Result<Catalog, Fault> {
        discover::discover(&Org::new(gateway, context)?, &objects)
    }

    fn prepare(
        gateway: &dyn Gateway,
        context: &Context,
        demands: Vec<Demand>,
        mode: PrepareMode,
    ) -> Result<Vec<Step>, Fault> {
        match mode {
            PrepareMode::Plan | PrepareMode::Apply => {
                discover::prepare(&Org::new(gateway, context)?, &demands)
            }
            // Nothing was made, so nothing is left to undo.
            PrepareMode::Remove => Ok(Vec::new()),
        }
    }

    fn pull(
        gateway: &dyn Gateway,
        context: &Context,
        streams: Vec<ChangeStream>,
    ) -> Result<Vec<Result<Page, Fault>>, Fault> {
        let org = Org::new(gateway, context)?;
        Ok(streams
            .iter()
            .map(|stream| pull_one(&org, stream))
            .collect())
    }

    fn read(
        gateway: &dyn Gateway,
        context: &Context,
        selection: Selection,
        by: Option<String>,
        keys: Packed,
    ) -> Result<ChangeSet, Fault> {
        read::read(
            &Org::new(gateway, context)?,
            selection,
            by.as_deref(),
            &keys,
        )
    }

    fn push(
        gateway: &dyn Gateway,
        context: &Context,
        operations: Operations,
    ) -> Result<Progress, Fault> {
        push::push(&Org::new(gateway, context)?, &operations)
    }

    fn poll(_: &dyn Gateway, _: &Context, _: Vec<u8>) -> Result<Progress, Fault> {
        Err(Fault::refused(
            "no-jobs",
            "none of this plugin's methods makes a job that could be asked for",
        ))
    }
}

fn pull_one(org: &Org<'_>, stream: &ChangeStream) -> Result<Page, Fault> {
    let [selection] = stream.selections.as_slice() else {
        return Err(Fault::refused(
            "one-object-per-stream",
            "a stream of Salesforce reads exactly one object, as the manifest says",
        ));
    };
    let rows_max = stream.rows_max.min(org.rows_max);
    let cursor = stream.cursor.as_deref();
    match stream.kind {
        StreamKind::Changes => changes::pull(org, selection, cursor, rows_max),
        StreamKind::Snapshot => snapshot::pull(org, selection, cursor, rows_max),
    }
}

tidegate_sdk::export_connector!(Salesforce);
