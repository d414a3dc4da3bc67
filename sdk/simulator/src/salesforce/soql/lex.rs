//! Words, literals and signs of a SOQL text.

use super::super::answer::ApiError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword or a name; also bare literals such as `true` and `null`.
    Word(String),
    Text(String),
    Number(String),
    /// A date or a time, unquoted.
    Moment(String),
    Sign(&'static str),
}

impl Token {
    pub(super) fn written(&self) -> &str {
        match self {
            Self::Word(text) | Self::Text(text) | Self::Number(text) | Self::Moment(text) => text,
            Self::Sign(sign) => sign,
        }
    }
}

const SIGNS: [&str; 11] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "."];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ApiError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '\'' {
            quoted(rest)?
        } else if first.is_alphabetic() || first == '_' {
            word(rest)
        } else if first.is_ascii_digit() || first == '-' || first == '+' {
            number_or_moment(rest)?
        } else {
            sign(rest)?
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn word(rest: &str) -> (Token, usize) {
    let length = rest
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(rest.len());
    (Token::Word(rest[..length].to_owned()), length)
}

fn sign(rest: &str) -> Result<(Token, usize), ApiError> {
    let sign = SIGNS
        .iter()
        .find(|sign| rest.starts_with(**sign))
        .ok_or_else(|| malformed(&format!("unexpected token: '{rest:.1}'")))?;
    Ok((Token::Sign(sign), sign.len()))
}

fn number_or_moment(rest: &str) -> Result<(Token, usize), ApiError> {
    let length = rest
        .find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-:.".contains(letter))
        .unwrap_or(rest.len());
    let literal = &rest[..length];
    if literal.len() >= 10 && literal.as_bytes()[4] == b'-' {
        return Ok((Token::Moment(literal.to_owned()), length));
    }
    let numeric = literal
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !numeric {
        return Err(malformed(&format!("unexpected token: '{literal}'")));
    }
    Ok((Token::Number(literal.to_owned()), length))
}

fn quoted(rest: &str) -> Result<(Token, usize), ApiError> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\'' => return Ok((Token::Text(text), place + 1)),
            '\\' => text.push(escaped(letters.next().map(|(_, letter)| letter))?),
            _ => text.push(letter),
        }
    }
    Err(malformed("unterminated string literal"))
}

fn escaped(letter: Option<char>) -> Result<char, ApiError> {
    Ok(match letter {
        Some('n' | 'N') => '\n',
        Some('r' | 'R') => '\r',
        Some('t' | 'T') => '\t',
        Some('b' | 'B') => '\u{8}',
        Some('f' | 'F') => '\u{c}',
        // `\_` and `\%` are told apart from wildcards by LIKE, so they keep a mark of their own.
        Some('_') => super::LITERAL_UNDERSCORE,
        Some('%') => super::LITERAL_PERCENT,
        Some(letter @ ('"' | '\'' | '\\')) => letter,
        _ => return Err(malformed("invalid string literal: illegal escape")),
    })
}

pub(super) fn malformed(message: &str) -> ApiError {
    ApiError::bad("MALFORMED_QUERY", message)
}
