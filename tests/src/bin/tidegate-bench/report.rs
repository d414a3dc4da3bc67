//! What a bench gives back, as JSON for programs and as a table for people.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

/// One entry of the list of benches.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// What is measured, in a few words.
    pub(crate) about: &'static str,
    pub(crate) run: fn(Scale) -> Result<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Full,
    /// Small enough for a test of the bench itself.
    Quick,
}

impl Scale {
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// The figures of one bench.
pub(crate) struct Outcome {
    figures: serde_json::Value,
    groups: Vec<Group>,
}

/// A bench's own figures, whose field names are the JSON's and end in their units.
pub(crate) trait Figures: Serialize {
    /// The same for people.
    fn groups(&self) -> Vec<Group>;
}

impl Outcome {
    pub(crate) fn new(figures: &impl Figures) -> Result<Self> {
        Ok(Self {
            figures: serde_json::to_value(figures)?,
            groups: figures.groups(),
        })
    }
}

/// Lines that belong together. Each is compared with the first line that has its unit.
pub(crate) struct Group {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    aim: Option<String>,
}

impl Group {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
        }
    }

    pub(crate) fn line(mut self, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        self.lines.push(Line {
            what: what.into(),
            value,
            unit,
            aim: None,
        });
        self
    }

    /// Says beside the last line what was aimed at, such as `<= 20`.
    pub(crate) fn aim(mut self, aim: impl Into<String>) -> Self {
        if let Some(line) = self.lines.last_mut() {
            line.aim = Some(aim.into());
        }
        self
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |line: &Line| line.what.chars().count();
        let widest = self.lines.iter().map(width).max().unwrap_or_default();
        writeln!(f, "  {}", self.title)?;
        for (index, line) in self.lines.iter().enumerate() {
            let Line {
                what, value, unit, ..
            } = line;
            let value = number(*value);
            write!(f, "    {what:widest$}  {value:>11} {unit:<10}")?;
            let first = self.lines[..index].iter().find(|first| first.unit == *unit);
            match first.filter(|first| first.value != 0.0) {
                Some(first) => {
                    let ratio = number(line.value / first.value);
                    write!(f, " x {ratio:<9}")?;
                }
                None => write!(f, "{:12}", "")?,
            }
            if let Some(aim) = line.aim.as_ref().filter(|aim| !aim.is_empty()) {
                write!(f, " aim {aim}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Three digits that matter, and thousands set apart.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let whole_digits = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(3 - whole_digits).unwrap_or_default();
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// An outcome with where and how it came about.
#[derive(Serialize)]
pub(crate) struct Told {
    bench: &'static str,
    about: &'static str,
    /// A debug build's figures are for the eye only.
    profile: &'static str,
    quick: bool,
    cores: usize,
    seconds: f64,
    figures: serde_json::Value,
    #[serde(skip)]
    groups: Vec<Group>,
}

impl Told {
    pub(crate) fn new(bench: &Bench, scale: Scale, seconds: f64, outcome: Outcome) -> Self {
        Self {
            bench: bench.name,
            about: bench.about,
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            quick: scale == Scale::Quick,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            seconds,
            figures: outcome.figures,
            groups: outcome.groups,
        }
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bench,
            about,
            profile,
            cores,
            seconds,
            ..
        } = self;
        writeln!(
            f,
            "{bench}: {about} ({profile} build, {cores} cores, took {seconds:.1} s)"
        )?;
        self.groups
            .iter()
            .try_for_each(|group| write!(f, "{group}"))
    }
}
