//! What a call costs before the plugin does any work of its own.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tidegate_core::plugin::MappingContext;
use tidegate_plugin_field_map::FieldMap;
use tidegate_sdk::Mapping;

use crate::race::{Contender, Course, Spread};
use crate::report::{Figures, Group, Outcome, Scale};
use crate::scene::Scene;

#[derive(Serialize)]
struct Cost {
    /// The same function of the same plugin, compiled into this program.
    native_call: Spread,
    /// An instance is made, and let go.
    instance: Spread,
    /// `describe` of a mapping without rules, each in a fresh instance.
    instance_and_call: Spread,
    /// Whether instances came from a pool.
    is_pooled: bool,
}

impl Figures for Cost {
    fn groups(&self) -> Vec<Group> {
        vec![
            Group::new("describe of a mapping without rules")
                .line("native", self.native_call.median_us, "us")
                .line("fresh instance", self.instance.median_us, "us")
                .line(
                    "fresh instance + call",
                    self.instance_and_call.median_us,
                    "us",
                )
                .aim("<= 20"),
        ]
    }
}

pub(crate) fn run(scale: Scale) -> Result<Outcome> {
    let scene = Scene::set(&["field-map"])?;
    let plugin = scene.load("field-map")?;
    let context = MappingContext {
        config: r#"{"rules":[]}"#.to_owned(),
        left: Vec::new(),
        right: Vec::new(),
    };
    let native_context = tidegate_sdk::MappingContext {
        config: context.config.clone(),
        left: Vec::new(),
        right: Vec::new(),
    };
    let course = Course {
        rounds: scale.pick(31, 3),
        slice: Duration::from_millis(scale.pick(40, 2)),
    };
    let [native_call, instance, instance_and_call] = course.race([
        Contender::new(|| {
            let rules = FieldMap::describe(black_box(&native_context));
            ensure!(black_box(rules).is_ok_and(|rules| rules.is_empty()));
            Ok(())
        }),
        Contender::new(|| Ok(scene.runtime.block_on(plugin.instantiate())?)),
        Contender::new(|| {
            let rules = scene.runtime.block_on(plugin.describe(black_box(&context)));
            ensure!(rules?.is_empty());
            Ok(())
        }),
    ])?;
    Outcome::new(&Cost {
        native_call,
        instance,
        instance_and_call,
        is_pooled: scene.sandbox.is_pooled(),
    })
}
