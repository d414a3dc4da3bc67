//! A conversation as written. `set NAME text` puts the text wherever `$NAME` stands below.

use std::fs;
use std::path::Path;

/// 2026-03-01, on which every conversation takes place.
const DAY_US: i64 = 1_772_323_200_000_000;

pub(crate) struct Script {
    pub(crate) config: String,
    pub(crate) calls: Vec<Call>,
}

/// `call VERB [[+DAYSd]hh:mm:ss] JSON`, with the requests and results that follow it.
pub(crate) struct Call {
    pub(crate) line: usize,
    pub(crate) verb: String,
    /// The host's clock.
    pub(crate) now_us: i64,
    pub(crate) arguments: String,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) expected: Vec<String>,
}

/// A request, line by line, and its answer.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<String>,
    /// `STATUS [hh:mm:ss] [BODY]`, or `fault KIND CODE EXECUTED` by the gateway.
    pub(crate) answer: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Script {
    pub(crate) fn read(folder: &Path, text: &str) -> Result<Self, String> {
        let mut script = Self {
            config: "{}".to_owned(),
            calls: Vec::new(),
        };
        let mut names: Vec<(String, String)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let line = names.iter().fold(line.to_owned(), |line, (name, text)| {
                line.replace(name, text)
            });
            if let Some((name, text)) = line
                .strip_prefix("set ")
                .and_then(|set| set.split_once(' '))
            {
                names.push((format!("${name}"), text.to_owned()));
                continue;
            }
            let (mark, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let last = script.calls.last_mut();
            match (mark, last) {
                ("config", _) => script.config = rest.to_owned(),
                ("call", _) => script.calls.push(call(number, rest)?),
                (">", Some(call)) => request(call, rest),
                ("<", Some(call)) => answer(folder, call, rest)?,
                ("<+", Some(call)) => header(call, rest)?,
                ("<|", Some(call)) => answer(folder, call, &format!("\n{rest}"))?,
                ("=", Some(call)) => call.expected.push(rest.to_owned()),
                _ => return Err(format!("line {number}: not a line of a conversation")),
            }
        }
        Ok(script)
    }
}

fn call(line: usize, rest: &str) -> Result<Call, String> {
    let (verb, rest) = rest
        .split_once(' ')
        .ok_or_else(|| format!("line {line}: a call without arguments"))?;
    let later = rest
        .strip_prefix('+')
        .and_then(|rest| rest.split_once('d'))
        .and_then(|(days, rest)| Some((days.parse::<i64>().ok()?, rest)));
    let (days, rest) = later.unwrap_or((0, rest));
    let (seconds, arguments) = clock(rest).unwrap_or((10 * 3_600, rest));
    let now_us = DAY_US + (days * 86_400 + seconds) * 1_000_000;
    Ok(Call {
        line,
        verb: verb.to_owned(),
        now_us,
        arguments: arguments.to_owned(),
        exchanges: Vec::new(),
        expected: Vec::new(),
    })
}

/// A line of a request: the first one after an answer begins the next.
fn request(call: &mut Call, rest: &str) {
    match call.exchanges.last_mut() {
        Some(exchange) if exchange.answer.is_empty() => exchange.request.push(rest.to_owned()),
        _ => call.exchanges.push(Exchange {
            request: vec![rest.to_owned()],
            ..Exchange::default()
        }),
    }
}

/// An answer may go on over several lines; `@FILE` stands for a file's content.
fn answer(folder: &Path, call: &mut Call, rest: &str) -> Result<(), String> {
    let exchange = call
        .exchanges
        .last_mut()
        .ok_or("an answer before its request")?;
    let text = match rest.split_once('@') {
        Some((before, file)) if file.ends_with(".json") => {
            let content = fs::read_to_string(folder.join(file))
                .map_err(|error| format!("{file}: {error}"))?;
            format!("{before}{content}")
        }
        _ => rest.to_owned(),
    };
    exchange.answer.push_str(&text);
    Ok(())
}

/// `name: value`, behind the answer's first line.
fn header(call: &mut Call, rest: &str) -> Result<(), String> {
    let exchange = call
        .exchanges
        .last_mut()
        .ok_or("a header before its request")?;
    let (name, value) = rest.split_once(": ").ok_or("a header without value")?;
    exchange.headers.push((name.to_owned(), value.to_owned()));
    Ok(())
}

/// `hh:mm:ss` at the front, as seconds of the day, and the rest.
pub(crate) fn clock(text: &str) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(8)?;
    let parts: Vec<i64> = head
        .split(':')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    match parts.as_slice() {
        [hour, minute, second] => Some((hour * 3_600 + minute * 60 + second, rest.trim_start())),
        _ => None,
    }
}
