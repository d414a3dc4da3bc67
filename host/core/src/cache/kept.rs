//! An answer with all that decides about it later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::Label;
use crate::plugin::{Header, HttpResponse};
use crate::time::Now;

/// First byte of a record; a record of another format is as good as none.
const FORMAT: u8 = 1;
/// What an answer weighs beside its texts: its places in indexes, and the least that makes small ones count.
const BYTES_EACH: u64 = 512;
/// What belongs to one conversation, or is nobody's business on a disk.
const NEVER_KEPT: [&str; 5] = [
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "authorization",
    "connection",
];

/// One answer, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub label: Arc<Label>,
    pub response: HttpResponse,
    /// When it was asked for, by the wall clock.
    asked_us: i64,
    /// Its age when this process had it first, and when that was.
    age_then_ms: u64,
    had_ms: u64,
}

/// How it lies in the store.
#[derive(Serialize, Deserialize)]
struct Record {
    label: Arc<Label>,
    response: HttpResponse,
    asked_us: i64,
}

impl Kept {
    /// An answer to what was asked at `asked`: it may be as old as that.
    pub fn new(label: Arc<Label>, mut response: HttpResponse, asked: Now) -> Self {
        let kept = |header: &Header| !NEVER_KEPT.contains(&header.name.as_str());
        response.headers.retain(kept);
        Self {
            label,
            response,
            asked_us: asked.wall_us,
            age_then_ms: 0,
            had_ms: asked.mono_ms,
        }
    }

    /// The answer when the vendor says that it still holds. What is told anew counts.
    pub fn renewed(&self, told: &[Header]) -> HttpResponse {
        let mut response = self.response.clone();
        let told = told
            .iter()
            .filter(|header| !header.name.starts_with("content-"));
        let told: Vec<Header> = told.cloned().collect();
        let is_told = |old: &Header| told.iter().any(|header| header.name == old.name);
        response.headers.retain(|old| !is_told(old));
        response.headers.extend(told);
        response
    }

    /// Takes the larger of what two clocks say: one stands still while a machine sleeps, the other may be set back.
    pub fn age_ms(&self, now: Now) -> u64 {
        let here_ms = now.mono_ms.saturating_sub(self.had_ms);
        let by_wall_ms = age_ms(self.asked_us, now).unwrap_or(0);
        self.age_then_ms.saturating_add(here_ms).max(by_wall_ms)
    }

    /// What makes the vendor say in few bytes that the answer still holds; nothing where it could be wrong.
    pub fn validators(&self) -> Vec<Header> {
        let of = |name: &str| self.header(name).map(str::to_owned);
        let header = |name: &str, value: String| Header {
            name: name.to_owned(),
            value,
        };
        if self.response.status != 200 {
            return Vec::new();
        }
        if let Some(tag) = of("etag") {
            return vec![header("if-none-match", tag)];
        }
        // What changed in the second in which it was told would pass for unchanged.
        let told = (self.header("date"), self.header("last-modified"));
        match told {
            (Some(date), Some(modified)) if is_before(modified, date) => {
                vec![header("if-modified-since", modified.to_owned())]
            }
            _ => Vec::new(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.response.headers.iter();
        let found = headers.find(|header| header.name == name);
        found.map(|header| header.value.as_str())
    }

    /// As bounds count it.
    pub fn bytes(&self) -> u64 {
        let headers = self.response.headers.iter();
        let headers = headers.map(|header| header.name.len() + header.value.len());
        let texts = headers.sum::<usize>() + self.response.body.len();
        BYTES_EACH + texts as u64 + self.label.bytes()
    }

    pub fn record(&self) -> Vec<u8> {
        let record = Record {
            label: self.label.clone(),
            response: self.response.clone(),
            asked_us: self.asked_us,
        };
        // Writing to a Vec can't fail, and no type here refuses to be serialised.
        postcard::to_extend(&record, vec![FORMAT]).unwrap_or_default()
    }

    /// What an earlier process has kept, as far as it is understood.
    pub fn read(bytes: &[u8], now: Now) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else {
            return None;
        };
        let record: Record = postcard::from_bytes(rest).ok()?;
        Some(Self {
            // A clock that has gone back since tells no age.
            age_then_ms: age_ms(record.asked_us, now).unwrap_or(u64::MAX),
            label: record.label,
            response: record.response,
            asked_us: record.asked_us,
            had_ms: now.mono_ms,
        })
    }
}

fn age_ms(asked_us: i64, now: Now) -> Option<u64> {
    u64::try_from(now.wall_us.checked_sub(asked_us)?)
        .ok()
        .map(|age_us| age_us / 1_000)
}

/// By a second at least, since that is how exact these moments are.
fn is_before(earlier: &str, later: &str) -> bool {
    let read = |text| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    match (read(earlier), read(later)) {
        (Ok(earlier), Ok(later)) => earlier < later,
        _ => false,
    }
}
