//! What an answer's headers say of a pool.

use crate::manifest::{Reading, ReadingUnit};

/// A pool's use as the vendor reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub pool: String,
    pub used: Option<u64>,
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
}

impl Report {
    /// Units used in all, by whomever; of `limit` when the answer does not name one.
    pub fn used(&self, limit: u64) -> Option<u64> {
        self.used
            .or_else(|| Some(self.limit.unwrap_or(limit).saturating_sub(self.remaining?)))
    }

    /// Reads a header's text as the manifest says; `None` when the pattern is not in it.
    pub fn read(reading: &Reading, text: &str) -> Option<Self> {
        let (first, _) = next_piece(&reading.pattern);
        // A pattern that begins inside a longer word is another figure's: `api-usage=` in `per-app-api-usage=`.
        let starts = text.match_indices(first).map(|(at, _)| at).filter(|at| {
            let before = &text[..*at];
            !before.ends_with(|before: char| before.is_alphanumeric() || "-.,".contains(before))
        });
        starts
            .into_iter()
            .find_map(|at| read_at(reading, &text[at..]))
    }
}

/// The literal text before the next placeholder, and what follows it.
fn next_piece(pattern: &str) -> (&str, &str) {
    pattern.split_at(pattern.find('{').unwrap_or(pattern.len()))
}

fn read_at(reading: &Reading, mut text: &str) -> Option<Report> {
    let mut report = Report {
        pool: reading.pool.clone(),
        ..Report::default()
    };
    let mut pattern = reading.pattern.as_str();
    while !pattern.is_empty() {
        let (literal, rest) = next_piece(pattern);
        text = text.strip_prefix(literal)?;
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.strip_prefix('{')?.split_once('}')?;
        let (number, behind) = match reading.unit {
            ReadingUnit::Units => whole(text)?,
            ReadingUnit::Seconds => milliseconds(text)?,
        };
        text = behind;
        match name {
            "used" => report.used = Some(number),
            "limit" => report.limit = Some(number),
            "remaining" => report.remaining = Some(number),
            _ => return None,
        }
        pattern = after;
    }
    Some(report)
}

/// The digits at the start of a text, and what follows.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn whole(text: &str) -> Option<(u64, &str)> {
    let (number, behind) = digits(text);
    Some((number.parse().ok()?, behind))
}

/// Seconds such as `1,199.97`. What may have been written another way round, as `1.199,97`, is not guessed at.
fn milliseconds(text: &str) -> Option<(u64, &str)> {
    let (first, mut behind) = digits(text);
    let mut seconds: u64 = first.parse().ok()?;
    while let Some(after) = behind.strip_prefix(',') {
        let (group, after) = digits(after);
        if group.len() != 3 || first.len() > 3 {
            return None;
        }
        seconds = seconds.checked_mul(1_000)? + group.parse::<u64>().ok()?;
        behind = after;
    }
    let mut ms = seconds.checked_mul(1_000)?;
    if let Some(after) = behind.strip_prefix('.') {
        let (part, after) = digits(after);
        let thousandths = part.bytes().chain(*b"000").take(3);
        ms += thousandths.fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
        behind = after;
    }
    let ends = !behind.starts_with([',', '.']);
    ends.then_some((ms, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_manifest_says() {
        let salesforce = "api-usage={used}/{limit}";
        type Read = Option<(u64, Option<u64>)>;
        let cases: &[(&str, &str, Read)] = &[
            (
                salesforce,
                "api-usage=10018/100000",
                Some((10_018, Some(100_000))),
            ),
            (
                salesforce,
                "api-usage=1/5; api-bursts=1/750",
                Some((1, Some(5))),
            ),
            (salesforce, "per-app-api-usage=17/250(appName=x)", None),
            (
                salesforce,
                "per-app-api-usage=17/250(appName=x); api-usage=3/9",
                Some((3, Some(9))),
            ),
            (salesforce, "api-usage=/9", None),
            ("{remaining} of {limit}", "30 of 100", Some((70, Some(100)))),
            ("{used}", "99999999999999999999999", None),
        ];
        for (pattern, text, expected) in cases {
            let reading = Reading {
                pool: "daily".to_owned(),
                header: "x".to_owned(),
                pattern: (*pattern).to_owned(),
                unit: ReadingUnit::Units,
            };
            let found = Report::read(&reading, text);
            let found = found.and_then(|report| Some((report.used(0)?, report.limit)));
            assert_eq!(found, *expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn seconds_are_read_as_milliseconds_and_never_guessed() {
        let cases: &[(&str, Option<u64>)] = &[
            ("1,199.97", Some(1_199_970)),
            ("1200", Some(1_200_000)),
            ("0.5", Some(500)),
            ("7.", Some(7_000)),
            ("0.12345", Some(123)),
            ("12,345,678.9", Some(12_345_678_900)),
            ("1.199,97", None),
            ("12,5", None),
            ("1,19.9", None),
            ("1199,970", None),
            ("", None),
            (".5", None),
            ("99999999999999999999", None),
            ("18446744073709551615", None),
        ];
        for (text, expected) in cases {
            let reading = Reading {
                pool: "time".to_owned(),
                header: "x".to_owned(),
                pattern: "{remaining}".to_owned(),
                unit: ReadingUnit::Seconds,
            };
            let found = Report::read(&reading, text);
            let found = found.and_then(|report| report.remaining);
            assert_eq!(found, *expected, "{text}");
        }
    }
}
