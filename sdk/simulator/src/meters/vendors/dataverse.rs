//! Dataverse: three limits per user and web server at once, and the one vendor that says how long to wait.

use serde_json::json;

use crate::answer::Answer;
use crate::meters::meter::Rule;
use crate::meters::options::Span;
use crate::meters::profile::{Call, Limit, Profile, Reading, Refused, Scope, read};

const SOURCE: &str =
    "Service protection API limits: per user and web server; some environments have more";
/// Whoever keeps pushing is told to wait longer; by how much is unverified.
const MORE_S: u64 = 1;
const RETRY_AFTER_MAX_S: u64 = 600;

#[derive(Debug)]
pub(crate) struct Dataverse;

impl Profile for Dataverse {
    fn limits(&self) -> Vec<Limit> {
        let limit = |name, units, rule| Limit {
            name,
            units,
            rule,
            scope: Scope::Credential,
            source: SOURCE,
        };
        vec![
            limit("requests", 6_000, Rule::Window { ms: 300_000 }),
            limit("time", 1_200_000, Rule::Work { ms: 300_000 }),
            limit("at-once", 52, Rule::AtOnce),
        ]
    }

    /// Whether each item of a batch counts as a request is unverified; its time certainly does.
    fn weighs(&self, _call: &Call, _limit: &str) -> u64 {
        1
    }

    fn takes(&self, call: &Call) -> Span {
        if call.path.ends_with("$batch") {
            Span::new(800, 1_200)
        } else {
            Span::new(90, 80)
        }
    }

    /// Seconds with commas between thousands, as clients have captured it.
    fn headers(&self, _call: &Call, readings: &[Reading]) -> Vec<(&'static str, String)> {
        let left_ms = read(readings, "time").left();
        vec![
            (
                "x-ms-ratelimit-burst-remaining-xrm-requests",
                read(readings, "requests").left().to_string(),
            ),
            (
                "x-ms-ratelimit-time-remaining-xrm-requests",
                format!("{}.{:02}", grouped(left_ms / 1_000), left_ms % 1_000 / 10),
            ),
        ]
    }

    fn refuse(&self, refused: &Refused) -> Answer {
        let limit = refused.limit;
        let (code, message) = match refused.by {
            "requests" => (
                "0x80072322",
                format!(
                    "Number of requests exceeded the limit of {limit} over time window of 300 seconds."
                ),
            ),
            "time" => (
                "0x80072321",
                format!(
                    "Combined execution time of incoming requests exceeded limit of {} milliseconds over time \
                     window of 300 seconds. Decrease number of concurrent requests or reduce the duration of \
                     requests and try again later.",
                    grouped(limit)
                ),
            ),
            _ => (
                "0x80072326",
                format!("Number of concurrent requests exceeded the limit of {limit}."),
            ),
        };
        let room_s = refused.free_in_ms.unwrap_or(1_000).div_ceil(1_000);
        let retry_s = (room_s + MORE_S * refused.in_a_row.saturating_sub(1)).min(RETRY_AFTER_MAX_S);
        Answer::json(429, json!({"error": {"code": code, "message": message}}))
            .with("retry-after", retry_s.max(1).to_string())
    }

    fn unauthorized(&self) -> Answer {
        Answer::empty(401).with("www-authenticate", "Bearer")
    }

    fn failure(&self) -> Answer {
        let error = json!({"code": "0x80040216", "message": "An unexpected error occurred."});
        Answer::json(503, json!({"error": error}))
    }

    fn done(&self, call: &Call) -> Answer {
        if call.method == "GET" {
            return Answer::json(200, json!({"value": []}));
        }
        Answer::empty(204)
    }
}

/// With commas between thousands, as the message has them.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_stand_apart() {
        assert_eq!(super::grouped(1_200_000), "1,200,000");
        assert_eq!(super::grouped(200), "200");
    }
}
