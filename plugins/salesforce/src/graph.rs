//! Records with the records that they refer to, in one request: parents first, children by `@{parent.id}`.
//!
//! Rows that hang together become one graph, which Salesforce carries out whole or not at all; graphs do not
//! depend on each other. So a child never stands without its parent, and where one row of a graph is refused the others
//! come back as refused for now. Rows that hang together with no other go by collections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tidegate_sdk::{
    Advice, Fault, Group, Http, HttpResponse, OperationKind, Operations, Outcome, Progress,
    Request, Response, RowOutcome,
};

use crate::answer;
use crate::lines::{self, Line};
use crate::org::Org;
use crate::outcome;
use crate::part::{AnsweredPart, Answers};
use crate::push::{Answered, check_names, collected, part_alone};
use crate::refusal::Attempt;
use crate::soql;

/// Bounds of one request, and of one graph in it (REST API Developer Guide, "Composite Graph Limits").
const NODES_MAX: usize = 500;
const GRAPHS_MAX: usize = 75;
const DEPTH_MAX: usize = 15;
const TYPES_MAX: usize = 15;

const WHAT: &str = "the write of graphs";

/// A row of the push.
struct Node<'a> {
    group: &'a Group,
    line: Line,
    /// The nodes that it refers to.
    parents: Vec<usize>,
    /// How many nodes stand above one another here, itself included.
    depth: usize,
    /// It refers to a row that is in no graph, or would be too deep in one: it has to wait for its parent.
    orphan: bool,
    /// A graph would garble one of its values or its key.
    garbled: bool,
}

/// Rows that hang together, by their places in the push.
type Graph = Vec<usize>;

#[derive(Deserialize)]
struct Graphs {
    graphs: Vec<AnsweredGraph>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredGraph {
    graph_id: String,
    graph_response: Parts,
    is_successful: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    composite_response: Vec<AnsweredPart>,
}

/// Sends rows with their references and answers for every row.
pub(crate) fn push(org: &Org<'_>, operations: &Operations) -> Result<Progress, Fault> {
    let mut answered = Answered::default();
    let mut nodes = nodes(operations, &mut answered.outcomes)?;
    refer(operations, &mut nodes)?;
    let mut lone: BTreeMap<usize, Vec<Line>> = BTreeMap::new();
    let mut whole = Vec::new();
    for graph in graphs(&nodes) {
        match graph.as_slice() {
            [only] if nodes[*only].orphan => answered.outcomes.push(waits(&nodes[*only])),
            [only] => {
                let node = &nodes[*only];
                let place = |group: &Group| std::ptr::eq(group, node.group);
                let group = operations.groups.iter().position(place).unwrap_or_default();
                lone.entry(group).or_default().push(node.line.clone());
            }
            _ if graph.len() > NODES_MAX || types(&graph, &nodes) > TYPES_MAX => {
                let outcomes = graph.iter().map(|place| too_large(&nodes[*place]));
                answered.outcomes.extend(outcomes);
            }
            _ => whole.push(graph),
        }
    }
    send(org, &nodes, &shipments(whole), &mut answered)?;
    let loads = lone.into_iter();
    let loads = loads.map(|(group, lines)| (&operations.groups[group], lines));
    let alone = collected(org, loads.collect())?;
    answered.outcomes.extend(alone.outcomes);
    answered.failed.extend(alone.failed);
    answered.progress()
}

fn nodes<'a>(
    operations: &'a Operations,
    outcomes: &mut Vec<RowOutcome>,
) -> Result<Vec<Node<'a>>, Fault> {
    let mut nodes = Vec::new();
    for group in &operations.groups {
        check_names(group)?;
        let (lines, refused) = lines::of(group);
        outcomes.extend(refused);
        nodes.extend(lines.into_iter().map(|line| Node {
            group,
            garbled: line.reads_as_reference() || !line.key_fits_path(),
            line,
            parents: Vec::new(),
            depth: 1,
            orphan: false,
        }));
    }
    Ok(nodes)
}

/// Puts references into the fields that hold them.
fn refer(operations: &Operations, nodes: &mut [Node<'_>]) -> Result<(), Fault> {
    let places: HashMap<u64, usize> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (node.line.token, place))
        .collect();
    let mut references: Vec<_> = operations.references.iter().collect();
    // A parent is settled before its children look at it.
    references.sort_by_key(|reference| places.get(&reference.token));
    for reference in references {
        let field = soql::check_name(&reference.field)?;
        let Some(place) = places.get(&reference.token).copied() else {
            continue;
        };
        let target = places.get(&reference.target).copied();
        if target.is_some_and(|target| target >= place) {
            return Err(Fault::refused(
                "reference-forward",
                "a row may refer only to rows that stand before it",
            ));
        }
        let value = match target.map(|target| &nodes[target]) {
            Some(parent) if !parent.line.id.is_empty() => Some(parent.line.id.clone()),
            Some(parent) if !parent.orphan && !parent.garbled && parent.depth < DEPTH_MAX => {
                let depth = parent.depth + 1;
                let name = name(target.unwrap_or_default());
                let node = &mut nodes[place];
                node.depth = node.depth.max(depth);
                node.parents.extend(target);
                Some(format!("@{{{name}.id}}"))
            }
            _ => None,
        };
        let node = &mut nodes[place];
        match value {
            // A garbled row can't be part of a graph, and alone it would lack its parent.
            Some(value) if !node.garbled || node.parents.is_empty() => {
                node.line
                    .fields
                    .insert(field.to_owned(), Json::String(value));
            }
            _ => node.orphan = true,
        }
        if node.orphan {
            node.parents.clear();
        }
    }
    Ok(())
}

/// The name of a node within its request.
fn name(place: usize) -> String {
    format!("n{place}")
}

/// Rows joined by references, each set in the order of the push.
fn graphs(nodes: &[Node<'_>]) -> Vec<Graph> {
    let mut root: Vec<usize> = (0..nodes.len()).collect();
    fn find(root: &mut [usize], mut place: usize) -> usize {
        while root[place] != place {
            root[place] = root[root[place]];
            place = root[place];
        }
        place
    }
    for (place, node) in nodes.iter().enumerate() {
        for parent in &node.parents {
            let (one, other) = (find(&mut root, place), find(&mut root, *parent));
            root[one.max(other)] = one.min(other);
        }
    }
    let mut graphs: BTreeMap<usize, Graph> = BTreeMap::new();
    for place in 0..nodes.len() {
        graphs
            .entry(find(&mut root, place))
            .or_default()
            .push(place);
    }
    graphs.into_values().collect()
}

fn types(graph: &[usize], nodes: &[Node<'_>]) -> usize {
    let types = graph
        .iter()
        .map(|place| nodes[*place].group.object.as_str());
    types.collect::<BTreeSet<_>>().len()
}

/// As many graphs to a request as it takes.
fn shipments(graphs: Vec<Graph>) -> Vec<Vec<Graph>> {
    let mut shipments: Vec<Vec<Graph>> = Vec::new();
    let mut nodes = 0;
    for graph in graphs {
        nodes += graph.len();
        match shipments.last_mut() {
            Some(last) if nodes <= NODES_MAX && last.len() < GRAPHS_MAX => last.push(graph),
            _ => {
                nodes = graph.len();
                shipments.push(vec![graph]);
            }
        }
    }
    shipments
}

fn send(
    org: &Org<'_>,
    nodes: &[Node<'_>],
    shipments: &[Vec<Graph>],
    answered: &mut Answered,
) -> Result<(), Fault> {
    if shipments.is_empty() {
        return Ok(());
    }
    let requests = shipments
        .iter()
        .map(|graphs| request(org, nodes, graphs))
        .collect::<Result<Vec<_>, _>>()?;
    let answers = org.gateway.write_batch(&requests);
    if answers.len() != shipments.len() {
        return Err(Fault::broken(
            "wrong-answer",
            "the host must answer every request once; report this to its makers",
        )
        .with_unknown_fate());
    }
    for (graphs, answer) in shipments.iter().zip(answers) {
        match understand(answer) {
            Ok((response, mut found)) => {
                for (index, graph) in graphs.iter().enumerate() {
                    let outcomes = match found.remove(&id(index)) {
                        Some(found) => settle(nodes, graph, found, &response),
                        None => unanswered(nodes, graph),
                    };
                    answered.outcomes.extend(outcomes);
                }
            }
            Err(fault) => {
                let tokens = graphs.iter().flatten();
                let tokens = tokens.map(|place| nodes[*place].line.token).collect();
                answered.failed.push((fault, tokens));
            }
        }
    }
    Ok(())
}

/// The name of a graph within its request.
fn id(index: usize) -> String {
    format!("g{index}")
}

fn request(org: &Org<'_>, nodes: &[Node<'_>], graphs: &[Graph]) -> Result<Request, Fault> {
    let headers = org.config.write_headers();
    let places = || graphs.iter().flatten().copied();
    let graphs: Vec<Json> = graphs
        .iter()
        .enumerate()
        .map(|(index, graph)| {
            let parts = graph.iter().map(|place| {
                let Node { group, line, .. } = &nodes[*place];
                let key = attempt(group).key;
                part_alone(org, group, line, key).named(&name(*place), &headers)
            });
            json!({ "graphId": id(index), "compositeRequest": parts.collect::<Vec<_>>() })
        })
        .collect();
    let mut http = Http::post(org.config.path("/composite/graph"))
        .json(&json!({ "graphs": graphs }))?
        .rows(places().map(|place| nodes[place].line.token));
    for (name, value) in headers {
        http = http.header(name, value);
    }
    let objects: BTreeSet<&str> = places()
        .map(|place| nodes[place].group.object.as_str())
        .collect();
    http = http.changes(objects);
    if places().all(|place| nodes[place].group.operation != OperationKind::Create) {
        http = http.idempotent();
    }
    Ok(http.build())
}

fn attempt(group: &Group) -> Attempt<'_> {
    Attempt {
        operation: group.operation,
        key: match group.operation {
            OperationKind::Upsert => group.key.as_deref(),
            _ => None,
        },
    }
}

fn understand(
    answer: Result<Response, Fault>,
) -> Result<(HttpResponse, HashMap<String, AnsweredGraph>), Fault> {
    let response = answer?.into_http()?;
    if response.status != 200 {
        return Err(answer::fault(&response, WHAT));
    }
    let found: Graphs =
        serde_json::from_slice(&response.body).map_err(|_| answer::foreign(&response, WHAT))?;
    let found = found.graphs.into_iter();
    let found = found.map(|graph| (graph.graph_id.clone(), graph)).collect();
    Ok((response, found))
}

fn settle(
    nodes: &[Node<'_>],
    graph: &[usize],
    found: AnsweredGraph,
    outer: &HttpResponse,
) -> Vec<RowOutcome> {
    let mut answers = Answers::of(found.graph_response.composite_response, outer);
    let mut verdict = |place: usize| {
        let node = &nodes[place];
        answers
            .take(&name(place), WHAT)
            .and_then(|response| outcome::alone(&response, &node.line, attempt(node.group)))
            .unwrap_or_else(|fault| outcome::failed(node.line.token, &fault))
    };
    if found.is_successful {
        return graph.iter().map(|place| verdict(*place)).collect();
    }
    // Nothing of the graph was executed, so each row is refused, for its own reason or because of another.
    let mut stuck: BTreeSet<usize> = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(graph.len());
    for place in graph {
        let node = &nodes[*place];
        if let RowOutcome {
            outcome: Outcome::Refused(refusal),
            ..
        } = verdict(*place)
            && refusal.code != "PROCESSING_HALTED"
        {
            stuck.insert(*place);
            outcomes.push(RowOutcome {
                token: node.line.token,
                outcome: Outcome::Refused(refusal),
            });
        } else if node.parents.iter().any(|parent| stuck.contains(parent)) {
            stuck.insert(*place);
            outcomes.push(waits(node));
        } else {
            let why = "another record that hangs together with this one was refused";
            outcomes.push(later(node, "PROCESSING_HALTED", why));
        }
    }
    outcomes
}

fn unanswered(nodes: &[Node<'_>], graph: &[usize]) -> Vec<RowOutcome> {
    let why = "Salesforce answered a request of several graphs without this one";
    let unknown = |place: &usize| RowOutcome::unknown(nodes[*place].line.token, why);
    graph.iter().map(unknown).collect()
}

/// A row whose parent was not written: it may pass when the parent has been.
fn waits(node: &Node<'_>) -> RowOutcome {
    later(
        node,
        "parent-refused",
        "a record that this one refers to was not written",
    )
}

fn later(node: &Node<'_>, code: &str, why: &str) -> RowOutcome {
    RowOutcome::refused(node.line.token, code, why, Vec::new(), Advice::Retry)
}

fn too_large(node: &Node<'_>) -> RowOutcome {
    let message = format!(
        "it hangs together with more than {NODES_MAX} records or {TYPES_MAX} objects, which no request can carry"
    );
    RowOutcome::refused(
        node.line.token,
        "graph-too-large",
        message,
        Vec::new(),
        Advice::Park,
    )
}
