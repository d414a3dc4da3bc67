//! The config as it is meant: checked, and with a route per rule and direction.

mod check;
mod draft;

use tidegate_sdk::{Direction, Fault, MappingContext, Rule};

use crate::convert::Aim;
use crate::item::Item;
use crate::table::Table;
use crate::written::Step;

/// What to do in each direction.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    left_to_right: Vec<Route>,
    right_to_left: Vec<Route>,
}

/// One rule in one direction.
#[derive(Debug)]
pub(crate) struct Route {
    /// Where its author finds it, such as `rules[3]`.
    pub(crate) place: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) work: Work,
    pub(crate) steps: Vec<Step>,
    pub(crate) table: Option<Table>,
    /// What stands for null, of the target's type.
    pub(crate) default: Option<Item<'static>>,
    /// One per output.
    pub(crate) aims: Vec<Aim>,
}

#[derive(Debug)]
pub(crate) enum Work {
    Constant(Item<'static>),
    One,
    Join { separator: String, both_ways: bool },
    Split { separator: String },
}

impl Plan {
    /// Reads the config. The fault lists every mistake, one a line, each with its place.
    pub(crate) fn read(context: &MappingContext) -> Result<Self, Fault> {
        Self::read_for(context, &[Direction::LeftToRight, Direction::RightToLeft])
    }

    /// Reads as much of the config as these directions need, with the mistakes that show in them.
    pub(crate) fn read_for(context: &MappingContext, asked: &[Direction]) -> Result<Self, Fault> {
        let mut mistakes = Vec::new();
        let plan = check::plan(context, asked, &mut mistakes);
        if mistakes.is_empty() {
            Ok(plan)
        } else {
            Err(Fault::config("mapping-config", mistakes.join("\n")))
        }
    }

    pub(crate) fn routes(&self, direction: Direction) -> &[Route] {
        match direction {
            Direction::LeftToRight => &self.left_to_right,
            Direction::RightToLeft => &self.right_to_left,
        }
    }

    fn routes_mut(&mut self, direction: Direction) -> &mut Vec<Route> {
        match direction {
            Direction::LeftToRight => &mut self.left_to_right,
            Direction::RightToLeft => &mut self.right_to_left,
        }
    }

    pub(crate) fn describe(&self) -> Vec<Rule> {
        [Direction::LeftToRight, Direction::RightToLeft]
            .into_iter()
            .flat_map(|direction| {
                self.routes(direction).iter().map(move |route| Rule {
                    direction,
                    inputs: route.inputs.clone(),
                    outputs: route.outputs.clone(),
                })
            })
            .collect()
    }
}

/// A rule's own place, and the list that its mistakes go to.
pub(crate) struct Ledger<'a> {
    place: String,
    mistakes: &'a mut Vec<String>,
}

impl Ledger<'_> {
    pub(crate) fn at(&mut self, key: &str, mistake: impl std::fmt::Display) {
        let place = &self.place;
        self.mistakes.push(if key.is_empty() {
            format!("{place}: {mistake}")
        } else {
            format!("{place}.{key}: {mistake}")
        });
    }
}
