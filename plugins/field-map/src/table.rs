//! Value tables: what a value is called on the other side.

use std::collections::BTreeMap;

use crate::convert::{self, Spelling};
use crate::item::{Item, Trouble};
use crate::written::Unlisted;

/// One direction of a table. Values are compared by their text.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Item<'static>>,
    pub(crate) unlisted: Unlisted,
}

impl Table {
    /// What the value is called on the other side; `None` when it keeps its name.
    pub(crate) fn find(&self, item: &Item<'_>) -> Result<Option<&Item<'static>>, Trouble> {
        let found = text(item).and_then(|key| self.entries.get(key.as_ref()));
        match self.unlisted {
            Unlisted::Refuse if found.is_none() => Err(Trouble::new(
                "not-in-table",
                format!("this {} is not in the table", item.value().kind()),
            )),
            _ => Ok(found),
        }
    }
}

/// How a table spells a value; `None` for null.
pub(crate) fn text<'a>(item: &'a Item<'_>) -> Option<std::borrow::Cow<'a, str>> {
    Some(match item {
        Item::Null => return None,
        Item::Text(text) | Item::Decimal(text) | Item::Json(text) => text.as_ref().into(),
        other => convert::text(other, &Spelling::default()).ok()?,
    })
}
