//! The Salesforce connector: records of one org, over its REST API, and by SOAP where only that can.
//!
//! A pull enters with a cursor and leaves as rows and the next cursor; a push enters as rows and leaves as one
//! outcome each. In between are a few requests, counted in `README.md`, which the host paces and sends.
//!
//! In reading order:
//! - [`config`]: the endpoint's config table
//! - [`org`]: requests to the org, and its answers as JSON; [`part`]: several of them in one; [`ahead`]: what streams ask
//!   together
//! - [`answer`]: answers without success, as faults
//! - [`stamp`], [`id`], [`kind`]: moments, ids and values, to and from Salesforce's spelling
//! - [`soql`]: the text of queries
//! - [`describe`], [`discover`]: what objects and fields there are; [`count`]: how many records
//! - [`shape`]: what a reader must know of an object, and when to ask anew
//! - [`rows`]: records as rows
//! - [`compact`], [`cursor`]: what a stream remembers, in few bytes
//! - [`changes`], [`purged`], [`snapshot`], [`export`]: the streams
//! - [`read`]: records by id or key
//! - [`lines`], [`push`]: rows as records, and their requests
//! - [`graph`]: rows with the rows that they refer to
//! - [`bulk`]: rows as jobs
//! - [`soap`]: what only SOAP can
//! - [`outcome`], [`refusal`]: what became of each row, and what to do about it
//!
//! Absent: the clock (moments come from Salesforce's answers), credentials, pacing and retries (the host's), push
//! events.

mod config;

mod ahead;
mod answer;
mod org;
mod part;

mod id;
mod kind;
mod soql;
mod stamp;

mod count;
mod describe;
mod discover;

mod rows;
mod shape;

mod changes;
mod compact;
mod cursor;
mod export;
mod purged;
mod snapshot;

mod read;

mod bulk;
mod graph;
mod lines;
mod outcome;
mod push;
mod refusal;
mod soap;

use tidegate_sdk::{
    Catalog, ChangeSet, ChangeStream, Connector, Context, Demand, Fault, Gateway, Operations,
    Packed, Page, PrepareMode, Progress, Selection, Step, StreamKind,
};

use crate::ahead::First;
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

    fn count(
        gateway: &dyn Gateway,
        context: &Context,
        objects: Vec<String>,
    ) -> Result<Vec<Option<u64>>, Fault> {
        count::count(&Org::new(gateway, context)?, &objects)
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
        let mut org = Org::new(gateway, context)?;
        let asked = streams.iter().map(|stream| u64::from(stream.rows_max));
        if asked.sum::<u64>() > u64::from(org.rows_max) {
            // All pages together may hold what the caller can take.
            org.rows_max = (org.rows_max / (streams.len() as u32).max(1)).max(1);
        }
        let firsts = streams.iter().map(|stream| first(&org, stream));
        org.ahead.ask(&org, firsts.collect())?;
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

    fn poll(gateway: &dyn Gateway, context: &Context, job: Vec<u8>) -> Result<Progress, Fault> {
        bulk::poll(&Org::new(gateway, context)?, &job)
    }
}

/// What a stream will ask first, as far as its cursor tells.
fn first(org: &Org<'_>, stream: &ChangeStream) -> First {
    let [selection] = stream.selections.as_slice() else {
        return First::new();
    };
    let rows_max = stream.rows_max.min(org.rows_max);
    let cursor = stream.cursor.as_deref();
    match stream.kind {
        StreamKind::Changes => changes::first(org, selection, cursor, rows_max),
        StreamKind::Snapshot => snapshot::first(org, selection, cursor, rows_max),
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
