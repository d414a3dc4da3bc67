//! What the writes of a round become, by the connector's own table.

mod ground;

use tidegate_core::batch::DataType;
use tidegate_core::manifest::{Manifest, Method};
use tidegate_core::merge::Write;
use tidegate_core::model::Model;
use tidegate_core::pace::Lane;
use tidegate_core::plan::plan;
use tidegate_core::plugin::{Direction, OperationKind};
use tidegate_core::record::{LinkId, Sides, Token};
use tidegate_core::sync::{ConflictPolicy, Side};

use OperationKind::{Delete, Update, Upsert};

fn model() -> Model {
    let fields = ["note", "key"].map(|name| ground::field(name, DataType::Text, name == "key"));
    let schemas = Sides::new(|_| fields.to_vec());
    let rule = ground::carried("note", Direction::LeftToRight);
    let spec = ground::spec(Some("key"), ConflictPolicy::Newest);
    Model::new(spec, Sides::default(), &schemas, &[rule]).expect("a sound sync")
}

fn write(operation: OperationKind, link: u64) -> Write {
    ground::write(operation, link, Lane::Normal)
}

#[test]
fn few_rows_of_several_operations_travel_in_one_call() {
    let text = include_str!("../../../plugins/salesforce/plugin.toml");
    let manifest = Manifest::parse(text).expect("a manifest");
    let methods: Vec<&Method> = manifest.interactive_methods().collect();
    let model = model();
    // Rows by operation, and the pushes that they become: method and rows.
    type Case = (
        &'static [(OperationKind, u64)],
        &'static [(&'static str, usize)],
    );
    let cases: &[Case] = &[
        (&[(Update, 1)], &[("single", 1)]),
        (&[(Update, 35)], &[("collections", 35)]),
        (&[(Update, 1), (Delete, 1)], &[("composite", 2)]),
        (
            &[(Update, 35), (Upsert, 5), (Delete, 1)],
            &[("composite", 41)],
        ),
        (&[(Update, 600), (Upsert, 400)], &[("composite", 1_000)]),
        (
            &[(Update, 600), (Upsert, 401)],
            &[("composite", 600), ("composite", 401)],
        ),
    ];
    for (rows, wanted) in cases {
        let mut link = 0;
        let mut writes = Vec::new();
        for (operation, count) in *rows {
            for _ in 0..*count {
                link += 1;
                writes.push((LinkId(link), write(*operation, link)));
            }
        }
        let plan = plan(&model, Side::Right, &methods, writes);
        assert!(plan.refused.is_empty());
        let pushes: Vec<_> = plan
            .pushes
            .iter()
            .map(|push| (&*push.method, push.rows.len()))
            .collect();
        assert_eq!(pushes, *wanted, "{rows:?}");

        let mut named = Vec::new();
        for push in &plan.pushes {
            for group in push.operations(&model).groups {
                let count = group.tokens.len();
                assert_eq!(
                    [group.ids.len(), group.versions.len(), group.batch.rows],
                    [count; 3]
                );
                assert_eq!(group.key.is_some(), group.operation == Upsert);
                for (row, token) in group.tokens.iter().enumerate() {
                    let link = Token(*token).link();
                    let id = write(group.operation, link.0).id.unwrap_or_default();
                    assert_eq!(group.ids.text(row), &*id, "{link:?}");
                    named.push((group.operation, link.0));
                }
            }
        }
        named.sort_by_key(|(_, link)| *link);
        let asked: Vec<_> = rows
            .iter()
            .flat_map(|(operation, count)| (0..*count).map(|_| *operation))
            .zip(1..)
            .collect();
        assert_eq!(named, asked, "every row once, among its own kind");
    }
}
