//! From tokens to a query of names and literals; nothing here knows the schema.

use super::super::answer::ApiError;
use super::lex::{Token, malformed, tokens};

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) fields: Vec<String>,
    pub(super) count: bool,
    pub(super) object: String,
    pub(super) filter: Option<Condition>,
    pub(super) order: Vec<Ordering>,
    pub(super) limit: Option<usize>,
    pub(super) offset: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Ordering {
    pub(super) field: String,
    pub(super) descending: bool,
    pub(super) nulls_last: bool,
}

#[derive(Debug)]
pub(super) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(String, &'static str, Token),
    In {
        field: String,
        among: Vec<Token>,
        negated: bool,
    },
    Like(String, String),
}

const CHARACTERS_MAX: usize = 100_000;

pub(super) fn parse(text: &str) -> Result<Parsed, ApiError> {
    if text.chars().count() > CHARACTERS_MAX {
        return Err(ApiError::bad(
            "QUERY_TOO_COMPLICATED",
            "query is longer than 100,000 characters",
        ));
    }
    let mut reader = Reader {
        tokens: tokens(text)?,
        place: 0,
    };
    let parsed = reader.query()?;
    match reader.next() {
        None => Ok(parsed),
        Some(token) => Err(unexpected(&token)),
    }
}

struct Reader {
    tokens: Vec<Token>,
    place: usize,
}

impl Reader {
    fn query(&mut self) -> Result<Parsed, ApiError> {
        self.keyword("SELECT")?;
        let (fields, count) = self.selection()?;
        self.keyword("FROM")?;
        let object = self.name()?;
        let filter = if self.take("WHERE") {
            Some(self.condition()?)
        } else {
            None
        };
        let order = if self.take("ORDER") {
            self.keyword("BY")?;
            self.order()?
        } else {
            Vec::new()
        };
        let limit = if self.take("LIMIT") {
            Some(self.count()?)
        } else {
            None
        };
        let offset = if self.take("OFFSET") {
            Some(self.count()?)
        } else {
            None
        };
        if offset > Some(2000) {
            return Err(ApiError::bad(
                "NUMBER_OUTSIDE_VALID_RANGE",
                "Maximum SOQL offset allowed is 2000",
            ));
        }
        Ok(Parsed {
            fields,
            count,
            object,
            filter,
            order,
            limit,
            offset,
        })
    }

    fn selection(&mut self) -> Result<(Vec<String>, bool), ApiError> {
        let mut fields = vec![self.name()?];
        if fields[0].eq_ignore_ascii_case("count") && self.sign("(") {
            self.expect(")")?;
            return Ok((Vec::new(), true));
        }
        while self.sign(",") {
            fields.push(self.name()?);
        }
        Ok((fields, false))
    }

    /// `AND` and `OR` may not be mixed without parentheses, as in SOQL.
    fn condition(&mut self) -> Result<Condition, ApiError> {
        let first = self.term()?;
        for (word, other) in [("AND", "OR"), ("OR", "AND")] {
            if !self.take(word) {
                continue;
            }
            let mut all = vec![first, self.term()?];
            while self.take(word) {
                all.push(self.term()?);
            }
            if self.take(other) {
                return Err(malformed(&format!("unexpected token: '{other}'")));
            }
            return Ok(if word == "AND" {
                Condition::And(all)
            } else {
                Condition::Or(all)
            });
        }
        Ok(first)
    }

    fn term(&mut self) -> Result<Condition, ApiError> {
        if self.sign("(") {
            let inner = self.condition()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("NOT") {
            return Ok(Condition::Not(Box::new(self.term()?)));
        }
        let field = self.name()?;
        if self.take("LIKE") {
            return match self.next() {
                Some(Token::Text(pattern)) => Ok(Condition::Like(field, pattern)),
                other => Err(unexpected_or_end(other)),
            };
        }
        let negated = self.take("NOT");
        if negated || self.peek_is("IN") {
            self.keyword("IN")?;
            let among = self.list()?;
            return Ok(Condition::In {
                field,
                among,
                negated,
            });
        }
        match self.next() {
            Some(Token::Sign(sign)) if !"(),.".contains(sign) => {
                let sign = if sign == "<>" { "!=" } else { sign };
                Ok(Condition::Compare(field, sign, self.literal()?))
            }
            other => Err(unexpected_or_end(other)),
        }
    }

    fn list(&mut self) -> Result<Vec<Token>, ApiError> {
        self.expect("(")?;
        let mut among = vec![self.literal()?];
        while self.sign(",") {
            among.push(self.literal()?);
        }
        self.expect(")")?;
        Ok(among)
    }

    fn order(&mut self) -> Result<Vec<Ordering>, ApiError> {
        let mut order = Vec::new();
        loop {
            let field = self.name()?;
            let descending = self.take("DESC");
            if !descending {
                self.take("ASC");
            }
            let nulls_last = if self.take("NULLS") {
                let last = self.take("LAST");
                if !last {
                    self.keyword("FIRST")?;
                }
                last
            } else {
                false
            };
            order.push(Ordering {
                field,
                descending,
                nulls_last,
            });
            if !self.sign(",") {
                return Ok(order);
            }
        }
    }

    fn literal(&mut self) -> Result<Token, ApiError> {
        match self.next() {
            Some(Token::Sign(sign)) => Err(unexpected(&Token::Sign(sign))),
            Some(token) => Ok(token),
            None => Err(unexpected_or_end(None)),
        }
    }

    fn count(&mut self) -> Result<usize, ApiError> {
        match self.next() {
            Some(Token::Number(number)) => number
                .parse()
                .map_err(|_| malformed(&format!("unexpected token: '{number}'"))),
            other => Err(unexpected_or_end(other)),
        }
    }

    /// A name, or a path of them as one text.
    fn name(&mut self) -> Result<String, ApiError> {
        let mut name = match self.next() {
            Some(Token::Word(word)) => word,
            other => return Err(unexpected_or_end(other)),
        };
        while self.sign(".") {
            name.push('.');
            match self.next() {
                Some(Token::Word(word)) => name.push_str(&word),
                other => return Err(unexpected_or_end(other)),
            }
        }
        Ok(name)
    }

    fn peek_is(&self, keyword: &str) -> bool {
        matches!(self.tokens.get(self.place), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword))
    }

    fn take(&mut self, keyword: &str) -> bool {
        let found = self.peek_is(keyword);
        self.place += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found =
            matches!(self.tokens.get(self.place), Some(Token::Sign(found)) if *found == sign);
        self.place += usize::from(found);
        found
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), ApiError> {
        if self.take(keyword) {
            return Ok(());
        }
        Err(unexpected_or_end(self.next()))
    }

    fn expect(&mut self, sign: &str) -> Result<(), ApiError> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(unexpected_or_end(self.next()))
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.place).cloned();
        self.place += 1;
        token
    }
}

fn unexpected(token: &Token) -> ApiError {
    malformed(&format!("unexpected token: '{}'", token.written()))
}

fn unexpected_or_end(token: Option<Token>) -> ApiError {
    token.map_or_else(
        || malformed("unexpected token: '<EOF>'"),
        |token| unexpected(&token),
    )
}
