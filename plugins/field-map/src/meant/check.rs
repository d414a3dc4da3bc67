//! Reads all rules and finds every mistake in them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_sdk::{Direction, MappingContext};

use super::draft::Draft;
use super::{Ledger, Plan};
use crate::written::{Config, Rule, Ways};

/// With the routes of the directions that are asked for. A mistake that only the other direction has is not seen.
pub(super) fn plan(
    context: &MappingContext,
    asked: &[Direction],
    mistakes: &mut Vec<String>,
) -> Plan {
    let mut plan = Plan::default();
    let config: Config = match serde_json::from_str(&context.config) {
        Ok(config) => config,
        Err(error) => {
            mistakes.push(format!("config: {error}"));
            return plan;
        }
    };
    for (index, json) in config.rules.into_iter().enumerate() {
        let place = format!("rules[{index}]");
        let mut ledger = Ledger {
            place: place.clone(),
            mistakes,
        };
        match read_rule(json) {
            Ok(rule) => add(&mut plan, context, asked, &rule, &mut ledger),
            Err(error) => ledger.at("", error),
        }
    }
    for (direction, side) in [
        (Direction::LeftToRight, "right"),
        (Direction::RightToLeft, "left"),
    ] {
        written_twice(&plan, direction, side, mistakes);
    }
    plan
}

/// Straight from the text, as it is read in every call. Only what fails is read again as a tree, whose mistakes are
/// worded without positions in the text.
fn read_rule(json: &RawValue) -> serde_json::Result<Rule> {
    serde_json::from_str(json.get())
        .or_else(|_| Rule::deserialize(serde_json::from_str::<serde_json::Value>(json.get())?))
}

fn add(
    plan: &mut Plan,
    context: &MappingContext,
    asked: &[Direction],
    rule: &Rule,
    ledger: &mut Ledger<'_>,
) {
    if !is_whole(rule, ledger) {
        return;
    }
    let directions: &[Direction] = match ways(rule, ledger) {
        None => return,
        Some(Ways::Both) => &[Direction::LeftToRight, Direction::RightToLeft],
        Some(Ways::LeftToRight) => &[Direction::LeftToRight],
        Some(Ways::RightToLeft) => &[Direction::RightToLeft],
    };
    let both_ways = directions.len() == 2;
    // Both directions look at both ends; the first of them complains.
    let mut complains = true;
    for direction in directions.iter().filter(|run| asked.contains(run)) {
        let draft = Draft {
            rule,
            context,
            direction: *direction,
            both_ways,
            complains: std::mem::take(&mut complains),
        };
        if let Some(route) = draft.route(ledger) {
            plan.routes_mut(*direction).push(route);
        }
    }
}

/// Whether the rule names what it needs.
fn is_whole(rule: &Rule, ledger: &mut Ledger<'_>) -> bool {
    let before = ledger.mistakes.len();
    for (key, names) in [("left", &rule.left), ("right", &rule.right)] {
        if names.are_several() && names.list().len() < 2 {
            ledger.at(
                key,
                "a list needs two fields or more; write one field as plain text",
            );
        }
        if names.list().iter().any(String::is_empty) {
            ledger.at(key, "a field's name is empty");
        }
        let mut sorted: Vec<_> = names.list().iter().collect();
        sorted.sort();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            ledger.at(key, "names a field twice");
        }
    }
    let several = rule.left.are_several() || rule.right.are_several();
    if rule.left.are_several() && rule.right.are_several() {
        ledger.at(
            "",
            "joins several fields or splits one, so only one side may be a list",
        );
    }
    match &rule.separator {
        None if several => ledger.at("separator", "is missing; several fields need one"),
        Some(_) if !several => ledger.at("separator", "has no use without a list of fields"),
        Some(text) if text.is_empty() => ledger.at("separator", "is empty"),
        _ => {}
    }
    if rule.table.is_some() && several {
        ledger.at("table", "works on one field, not on a list");
    }
    if rule.unlisted.is_some() && rule.table.is_none() {
        ledger.at("unlisted", "has no use without a table");
    }
    ledger.mistakes.len() == before
}

/// Which ways the rule runs: as it says, else both, else the only one that it can.
fn ways(rule: &Rule, ledger: &mut Ledger<'_>) -> Option<Ways> {
    let has_left = !rule.left.list().is_empty();
    let has_right = !rule.right.list().is_empty();
    let possible = match (&rule.constant, has_left, has_right) {
        (None, true, true) => return Some(rule.direction.unwrap_or(Ways::Both)),
        (Some(_), false, true) => Ways::LeftToRight,
        (Some(_), true, false) => Ways::RightToLeft,
        (Some(_), _, _) => {
            ledger.at(
                "constant",
                "needs exactly one of left and right: the field it is for",
            );
            return None;
        }
        (None, _, _) => {
            ledger.at("", "must name both left and right");
            return None;
        }
    };
    if rule.direction.is_some_and(|said| said != possible) {
        ledger.at(
            "direction",
            "a constant runs only towards the field that it names",
        );
    }
    Some(possible)
}

fn written_twice(plan: &Plan, direction: Direction, side: &str, mistakes: &mut Vec<String>) {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for route in plan.routes(direction) {
        for output in &route.outputs {
            if let Some(before) = first.insert(output, &route.place) {
                mistakes.push(format!(
                    "{}.{side}: `{output}` is written by {before} already; give one of them another direction",
                    route.place
                ));
            }
        }
    }
}
