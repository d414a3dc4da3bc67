//! What is left to a person, and what they are told of it.

use crate::ledger::{HalfPlace, Ledger, LedgerError};
use crate::model::Model;
use crate::record::{LinkId, Reason};
use crate::sync::Side;

/// Candidates that a person is told of.
pub(super) const TOLD: usize = 5;

pub(super) fn ambiguous(
    ledger: &Ledger<'_>,
    model: &Model,
    place: HalfPlace,
    others: &[LinkId],
    siblings: &[LinkId],
) -> Result<Reason, LedgerError> {
    let rule = usize::from(place.rule);
    let names = |side: Side| -> Vec<String> {
        let fields = model.pairs.get(rule).map_or(&[][..], |rule| &rule[side]);
        let names = fields
            .iter()
            .map(|field| model.name(side, *field).to_owned());
        names.collect()
    };
    let (side, other) = (place.side, place.side.other());
    let mut told = Vec::new();
    let mut room = TOLD;
    for (of, ids) in [(other, others), (side, siblings)] {
        let mut shown = Vec::new();
        for id in ids.iter().take(room) {
            let remote = ledger.link(*id)?.and_then(|link| link.ids[of].clone());
            shown.extend(remote.map(String::from));
        }
        room -= shown.len();
        if !shown.is_empty() {
            let more = match ids.len() > shown.len() {
                true => " and more",
                false => "",
            };
            told.push(format!("on the {of} {}{more}", shown.join(", ")));
        }
    }
    Ok(Reason {
        code: Reason::PAIR_AMBIGUOUS.into(),
        message: format!(
            "pair rule {} ({} = {}) finds more than one that it may be, or one that may be another's: {}; say which two are one with `tidegate pair SYNC LEFT-ID RIGHT-ID`, or with `tidegate pair SYNC --apart ID` that this one has no other half; or change or merge the records there, and retry",
            rule + 1,
            names(Side::Left).join(", "),
            names(Side::Right).join(", "),
            told.join(", and "),
        ),
        fields: names(side),
        target: Some(other),
    })
}
