//! A round's records as the mapping plugin turns them into the other side's fields.

use tidegate_core::merge::{Fields, Mapped, to_map};
use tidegate_core::record::{Entry, FieldId, Link, LinkId, Pending, Reason};
use tidegate_core::sync::Side;
use tidegate_core::value::Value;
use tidegate_sandbox::CallError;

use super::failure;
use super::round::Round;

pub(super) struct Item {
    pub id: LinkId,
    pub link: Link,
    pub entry: Entry,
    pub mapped: Mapped,
    /// The mapping crashed on this row, and on every other that it was given.
    pub plugin_fails: bool,
}

impl Round {
    pub(super) async fn map(&self, source: Side, items: &mut [Item]) {
        let model = &self.running.model;
        let wanted: Vec<usize> = (0..items.len())
            .filter(|index| to_map(model, &items[*index].link, &items[*index].entry)[source])
            .collect();
        // A range that fails as a whole is halved until the row to blame is alone.
        let mut ranges = vec![wanted];
        let mut sound = false;
        let mut crashed = Vec::new();
        while let Some(range) = ranges.pop() {
            if range.is_empty() {
                continue;
            }
            match self.map_range(source, items, &range).await {
                Ok(rows) => {
                    sound = true;
                    for (index, row) in range.iter().zip(rows) {
                        items[*index].mapped[source] = Some(row);
                    }
                }
                Err(error) if range.len() == 1 => {
                    let reason = failure::reason(&error, Some(source.other()));
                    items[range[0]].mapped[source] = Some(Err(reason));
                    if error.blames_input() {
                        crashed.push(range[0]);
                    }
                }
                Err(_) => {
                    let (first, second) = range.split_at(range.len() / 2);
                    ranges.push(second.to_vec());
                    ranges.push(first.to_vec());
                }
            }
        }
        // A mapping is pure: what crashes alone, while others pass, will always crash.
        for index in crashed {
            items[index].plugin_fails = !sound;
        }
    }

    async fn map_range(
        &self,
        source: Side,
        items: &[Item],
        range: &[usize],
    ) -> Result<Vec<Result<Fields, Reason>>, CallError> {
        let running = &self.running;
        let rows: Vec<&[(FieldId, Value)]> = range
            .iter()
            .map(|index| match &items[*index].entry.pending[source] {
                Some(Pending::Row { values, .. }) => &**values,
                _ => &[],
            })
            .collect();
        let batch = running.model.batch(source, &rows);
        let mapped = running
            .mapping
            .map_batch(&running.mapping_context, source.outward(), batch)
            .await?;
        let target = source.other();
        let columns = running.model.columns(target, &mapped.batch);
        let mut results: Vec<Result<Fields, Reason>> = (0..range.len())
            .map(|row| Ok(running.model.row(target, &mapped.batch, &columns, row)))
            .collect();
        for error in mapped.errors {
            if let Some(result) = results.get_mut(error.row as usize) {
                *result = Err(Reason {
                    code: error.code,
                    message: format!("{} (rule {})", error.message, error.rule),
                    fields: vec![error.field],
                    target: Some(target),
                });
            }
        }
        Ok(results)
    }
}
