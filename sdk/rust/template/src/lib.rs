//! A mapping to start from: a field that one side writes behind a prefix and the other does not.

use serde::Deserialize;
use tidegate_sdk::{
    Batch, Column, DataType, Direction, Fault, Mapped, Mapping, MappingContext, RowError, Rule,
    Value,
};

/// The sync's config, as `plugin.toml` describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    left: String,
    right: String,
    prefix: String,
}

/// The mapping.
#[derive(Debug)]
pub struct MyMapping;

impl Mapping for MyMapping {
    fn describe(context: &MappingContext) -> Result<Vec<Rule>, Fault> {
        let config: Config = context.config()?;
        let rule = |direction, input: &str, output: &str| Rule {
            direction,
            inputs: vec![input.to_owned()],
            outputs: vec![output.to_owned()],
        };
        Ok(vec![
            rule(Direction::LeftToRight, &config.left, &config.right),
            rule(Direction::RightToLeft, &config.right, &config.left),
        ])
    }

    fn map_batch(
        context: &MappingContext,
        direction: Direction,
        batch: Batch,
    ) -> Result<Mapped, Fault> {
        let config: Config = context.config()?;
        let (input, output) = match direction {
            Direction::LeftToRight => (&config.left, &config.right),
            Direction::RightToLeft => (&config.right, &config.left),
        };
        let mut mapped = Mapped {
            batch: Batch {
                rows: batch.rows,
                columns: Vec::new(),
            },
            errors: Vec::new(),
        };
        let Some(input) = batch.column(input) else {
            return Ok(mapped);
        };
        let mut output = Column::new(output, DataType::Text);
        for (row, value) in input.iter().enumerate() {
            match change(value, direction, &config.prefix) {
                Ok(None) => output.push_unset(),
                Ok(Some(None)) => output.push_null(),
                Ok(Some(Some(text))) => output
                    .push(text.as_str())
                    .map_err(|wrong| Fault::broken("wrong-type", wrong.to_string()))?,
                Err(message) => {
                    output.push_unset();
                    mapped.errors.push(RowError {
                        row: row as u32,
                        field: input.name.clone(),
                        rule: "prefix".to_owned(),
                        code: "prefix".to_owned(),
                        message: message.to_owned(),
                    });
                }
            }
        }
        mapped.batch.columns.push(output);
        Ok(mapped)
    }
}

/// Unset stays unset (`None`), null stays null (`Some(None)`). A message names what is wrong, never the value.
fn change(
    value: Value<'_>,
    direction: Direction,
    prefix: &str,
) -> Result<Option<Option<String>>, &'static str> {
    let text = match value {
        Value::Unset => return Ok(None),
        Value::Null => return Ok(Some(None)),
        Value::Text(text) => text,
        _ => return Err("this value is not text"),
    };
    let changed = match direction {
        Direction::LeftToRight => format!("{prefix}{text}"),
        Direction::RightToLeft => text
            .strip_prefix(prefix)
            .ok_or("this text does not begin with the prefix")?
            .to_owned(),
    };
    Ok(Some(Some(changed)))
}

tidegate_sdk::export_mapping!(MyMapping);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_comes_and_goes() {
        let context = MappingContext {
            config: serde_json::json!({ "left": "number", "right": "Number__c", "prefix": "C-" })
                .to_string(),
            left: Vec::new(),
            right: Vec::new(),
        };
        let texts = [Value::Text("007"), Value::Null, Value::Unset];
        let column = Column::collect("number", DataType::Text, texts).expect("text");
        let batch = Batch::from_columns(3, vec![column]).expect("even columns");
        let there = MyMapping::map_batch(&context, Direction::LeftToRight, batch.clone())
            .expect("a mapped batch");
        assert_eq!(there.batch.value(0, "Number__c"), Value::Text("C-007"));
        let back = MyMapping::map_batch(&context, Direction::RightToLeft, there.batch)
            .expect("a mapped batch");
        assert_eq!(back.batch, batch);

        let column = Column::collect("Number__c", DataType::Text, ["007"]).expect("text");
        let batch = Batch::from_columns(1, vec![column]).expect("even columns");
        let refused =
            MyMapping::map_batch(&context, Direction::RightToLeft, batch).expect("a mapped batch");
        assert_eq!(refused.errors.len(), 1);
        assert_eq!(refused.batch.value(0, "number"), Value::Unset);
    }
}
