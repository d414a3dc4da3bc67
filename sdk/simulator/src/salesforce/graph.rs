//! `composite/graph`: records that hang together, written together; each graph stands or falls by itself.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::answer::{Answer, ApiError};
use super::call::Call;
use super::composite::{self, Parts};
use super::org::Org;
use super::route::Target;
use super::transaction::{Began, Outer};

/// In all graphs of a call together.
const NODES_MAX: usize = 500;
const GRAPHS_MAX: usize = 75;
/// Nodes that need one another, one after the other.
const DEPTH_MAX: usize = 15;
/// Objects in one graph.
const TYPES_MAX: usize = 15;
/// After so many graphs have failed, the rest of the call is not tried.
const FAILED_MAX: usize = 14;

pub(crate) fn graph(
    org: &mut Org,
    call: &Call,
    began: &Began,
    now_ms: u64,
) -> Result<Answer, ApiError> {
    if call.method != "POST" {
        return Err(ApiError::method_not_allowed());
    }
    let body = call.json()?;
    let graphs = graphs(&body)?;
    let mut failed = 0;
    let mut answers = Vec::with_capacity(graphs.len());
    for (name, nodes) in graphs {
        let (responses, good) = if failed < FAILED_MAX {
            Outer::begin(org);
            let Parts {
                mut responses,
                failed,
            } = composite::run(org, call, began, nodes, now_ms);
            let good = !failed.contains(&true);
            Outer::end(org, began, good)?;
            if !good {
                composite::halt_innocents(&mut responses, &failed);
            }
            (responses, good)
        } else {
            (nodes.iter().map(composite::halted).collect(), false)
        };
        failed += usize::from(!good);
        answers.push(json!({
            "graphId": name,
            "graphResponse": {"compositeResponse": responses},
            "isSuccessful": good,
        }));
    }
    Ok(Answer::json(200, json!({"graphs": answers})))
}

/// Each graph's id and nodes; what is wrong with any of them fails the whole call, with a code that no source names.
fn graphs(body: &Value) -> Result<Vec<(&str, &Vec<Value>)>, ApiError> {
    let none = || ApiError::bad("JSON_PARSER_ERROR", "The request has no list of graphs");
    let graphs = body["graphs"].as_array().ok_or_else(none)?;
    check_most(graphs.len(), GRAPHS_MAX, "graphs in a call")?;
    let mut found = Vec::with_capacity(graphs.len());
    let mut names = BTreeSet::new();
    let mut nodes_total = 0;
    for graph in graphs {
        let name = graph["graphId"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid("Each graph needs a graphId"))?;
        if !names.insert(name) {
            return Err(invalid(&format!("There are two graphs with the id {name}")));
        }
        let nodes = graph["compositeRequest"].as_array();
        let nodes = nodes.ok_or_else(|| invalid("Each graph needs a compositeRequest"))?;
        nodes_total += nodes.len();
        check_nodes(nodes)?;
        found.push((name, nodes));
    }
    check_most(nodes_total, NODES_MAX, "nodes in a call")?;
    Ok(found)
}

fn check_nodes(nodes: &[Value]) -> Result<(), ApiError> {
    composite::check_references(nodes)?;
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut types = BTreeSet::new();
    for node in nodes {
        types.insert(object(node)?);
        let above = composite::references(node)
            .into_iter()
            .filter_map(|name| depths.get(name.as_str()))
            .max();
        let depth = above.copied().unwrap_or(0) + 1;
        check_most(depth, DEPTH_MAX, "nodes that need one another")?;
        let name = node["referenceId"].as_str().unwrap_or_default();
        depths.insert(name, depth);
    }
    check_most(types.len(), TYPES_MAX, "objects in a graph")
}

/// The object of a node, which has to be one record's business.
fn object(node: &Value) -> Result<String, ApiError> {
    let url = node["url"].as_str().unwrap_or_default();
    let method = node["method"].as_str().unwrap_or("GET");
    match Call::new(method, url, Vec::new(), Vec::new()).and_then(|call| Target::of(&call))? {
        Target::Create(object) | Target::Row(object, _) | Target::External(object, ..) => {
            Ok(object.to_ascii_lowercase())
        }
        _ => Err(invalid(&format!("A graph can't have the URL {url}"))),
    }
}

fn check_most(found: usize, most: usize, of: &str) -> Result<(), ApiError> {
    if found <= most {
        return Ok(());
    }
    let message = format!("Cannot have more than {most} {of}");
    Err(ApiError::bad("LIMIT_EXCEEDED", message))
}

fn invalid(message: &str) -> ApiError {
    ApiError::bad("INVALID_INPUT", message)
}
