//! Degrading with grace: what is asked of everybody as a long allowance runs out, step by step, and taken
//! back by itself.

use serde::{Deserialize, Serialize};

use super::Lane;

/// How far an allowance is used up.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    #[default]
    Plenty,
    /// People are told.
    Notify,
    /// Polls are slow and backfill waits; where answers are cached, older ones serve.
    Stretch,
    /// Only what is critical goes.
    Critical,
}

/// What a level asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    pub notify: bool,
    /// Pauses between polls, in percent of the usual.
    pub poll_pause_percent: u32,
    /// The age up to which a cached answer serves, in percent of the usual.
    pub cache_age_percent: u32,
    /// Lanes below this one wait.
    pub lowest: Lane,
}

impl Level {
    pub fn asks(self) -> Asks {
        let (notify, percent, lowest) = match self {
            Self::Plenty => (false, 100, Lane::Backfill),
            Self::Notify => (true, 100, Lane::Backfill),
            Self::Stretch => (true, 400, Lane::Normal),
            Self::Critical => (true, 1_000, Lane::Critical),
        };
        Asks {
            notify,
            poll_pause_percent: percent,
            cache_age_percent: percent,
            lowest,
        }
    }
}

/// Where the levels begin, in thousandths used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub notify_permille: u32,
    pub stretch_permille: u32,
    pub critical_permille: u32,
    /// A level ends so far below its beginning, so that it does not flutter.
    pub slack_permille: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            notify_permille: 700,
            stretch_permille: 850,
            critical_permille: 950,
            slack_permille: 30,
        }
    }
}

impl Steps {
    fn reached(&self, used_permille: u32) -> Level {
        let steps = [
            (self.critical_permille, Level::Critical),
            (self.stretch_permille, Level::Stretch),
            (self.notify_permille, Level::Notify),
        ];
        let reached = steps.into_iter().find(|(from, _)| used_permille >= *from);
        reached.map_or(Level::Plenty, |(_, level)| level)
    }
}

/// A pool's level, as its use goes up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    steps: Steps,
    level: Level,
}

impl Ladder {
    pub fn new(steps: Steps) -> Self {
        Self {
            steps,
            level: Level::default(),
        }
    }

    /// With the usual steps, where an earlier host has left it.
    pub fn at(level: Level) -> Self {
        Self {
            steps: Steps::default(),
            level,
        }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Up at once, down only with some slack. Tells the level before when it has changed.
    pub fn step(&mut self, used: u64, limit: u64) -> Option<Level> {
        let used_permille = u128::from(used) * 1_000 / u128::from(limit.max(1));
        let used_permille = u32::try_from(used_permille).unwrap_or(u32::MAX);
        let up = self.steps.reached(used_permille);
        let down = self
            .steps
            .reached(used_permille.saturating_add(self.steps.slack_permille));
        let next = self.level.clamp(up, down.max(up));
        let before = std::mem::replace(&mut self.level, next);
        (before != next).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_at_once_and_go_with_slack() {
        let cases = [
            (0, Level::Plenty),
            (699, Level::Plenty),
            (700, Level::Notify),
            (671, Level::Notify),
            (669, Level::Plenty),
            (960, Level::Critical),
            (930, Level::Critical),
            (919, Level::Stretch),
            (850, Level::Stretch),
            (820, Level::Stretch),
            (819, Level::Notify),
            (100, Level::Plenty),
        ];
        let mut ladder = Ladder::default();
        for (used, level) in cases {
            let before = ladder.level();
            let told = ladder.step(used, 1_000);
            assert_eq!(ladder.level(), level, "at {used}");
            assert_eq!(told, (before != level).then_some(before), "at {used}");
        }
        assert_eq!(Level::Stretch.asks().lowest, Lane::Normal);
        assert_eq!(Level::Critical.asks().lowest, Lane::Critical);
    }
}
