//! `tidegate pair`: what a person knows of records that can't be told apart.

use tidegate_core::sync::Side;

use super::status::command;
use crate::control::Request;
use crate::status::Command;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PairArguments {
    /// The sync, as the config calls it.
    sync: String,
    /// The record's id on the left.
    #[arg(
        required_unless_present = "apart",
        requires = "right",
        value_name = "LEFT-ID"
    )]
    left: Option<String>,
    /// Its id on the right.
    #[arg(value_name = "RIGHT-ID")]
    right: Option<String>,
    /// A record that has no other half: it is made on the other side.
    #[arg(long, value_name = "ID", conflicts_with_all = ["left", "right"])]
    apart: Option<String>,
    /// Where that record is, when both sides have one of this id.
    #[arg(long, value_name = "SIDE", requires = "apart")]
    side: Option<OnSide>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnSide {
    Left,
    Right,
}

pub(super) fn request(arguments: PairArguments) -> Request {
    let sync = arguments.sync;
    match arguments.apart {
        Some(record) => {
            let side = arguments.side.map(|side| match side {
                OnSide::Left => Side::Left,
                OnSide::Right => Side::Right,
            });
            command(Command::Apart { sync, record, side })
        }
        None => command(Command::Pair {
            sync,
            left: arguments.left.unwrap_or_default(),
            right: arguments.right.unwrap_or_default(),
        }),
    }
}
