//! What a connector asks of the gateway: [`Http`], [`Sql`] and [`Feed`] make requests.

use serde::Serialize;

use crate::batch::Batch;
use crate::bindings::connector::tidegate::plugin::gateway;
use crate::fault::Fault;
use crate::value::DataType;

pub use gateway::{
    FeedRequest, Freshness, Header, HttpMethod, HttpRequest, Operation, Request, SqlRequest,
};

/// Rows that a statement may answer when its author names no number.
const SQL_ROWS_MAX: u32 = 10_000;

impl Request {
    fn new(operation: Operation) -> Self {
        Self {
            operation,
            costs: Vec::new(),
            rows: Vec::new(),
            idempotent: false,
            freshness: None,
        }
    }
}

/// What every kind of request may say beside its operation.
macro_rules! around {
    ($builder:ident) => {
        impl $builder {
            /// Draws `units` from a pool of the manifest instead of its default cost.
            pub fn cost(mut self, pool: impl Into<String>, units: u32) -> Self {
                self.request.costs.push((pool.into(), units));
                self
            }

            /// The tokens of the rows that this request carries; required for every write during `push`.
            pub fn rows(mut self, tokens: impl IntoIterator<Item = u64>) -> Self {
                self.request.rows.extend(tokens);
                self
            }

            /// Repeating the request can't change anything a second time.
            pub fn idempotent(mut self) -> Self {
                self.request.idempotent = true;
                self
            }

            /// Accepts an answer that the host has kept, if it is at most so old and nothing with one of these tags
            /// has changed since. 0 asks anew, and has the answer kept for others.
            pub fn cached<T: Into<String>>(
                mut self,
                age_ms_max: u32,
                tags: impl IntoIterator<Item = T>,
            ) -> Self {
                self.request.freshness = Some(Freshness {
                    age_ms_max,
                    tags: tags.into_iter().map(Into::into).collect(),
                });
                self
            }

            /// What this write changes: kept answers with one of these tags are forgotten. Without, those near its path are.
            pub fn changes<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
                self.cached(0, tags)
            }
        }
    };
}

/// An HTTP request on an origin that the operator configured.
///
/// ```
/// use tidegate_sdk::Http;
///
/// let request = Http::get("/services/data/v60.0/query")
///     .query("q", "SELECT Id FROM Contact")
///     .header("accept", "application/json")
///     .build();
/// # assert!(!request.idempotent);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Http {
    request: Request,
    http: HttpRequest,
}

around!(Http);

impl Http {
    /// The path starts with `/` and is percent-encoded already; see [`segment`].
    pub fn new(method: HttpMethod, path: impl Into<String>) -> Self {
        let http = HttpRequest {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            origin: None,
        };
        Self {
            request: Request::new(Operation::Http(http.clone())),
            http,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(HttpMethod::Get, path)
    }

    pub fn post(path: impl Into<String>) -> Self {
        Self::new(HttpMethod::Post, path)
    }

    pub fn put(path: impl Into<String>) -> Self {
        Self::new(HttpMethod::Put, path)
    }

    pub fn patch(path: impl Into<String>) -> Self {
        Self::new(HttpMethod::Patch, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(HttpMethod::Delete, path)
    }

    /// Adds a parameter; the host encodes it.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header. Authorization, Host and Accept-Encoding belong to the host.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http.headers.push(Header {
            name: name.into().to_ascii_lowercase(),
            value: value.into(),
        });
        self
    }

    /// Sets the body and its media type.
    pub fn body(self, media_type: &str, body: Vec<u8>) -> Self {
        let mut request = self.header("content-type", media_type);
        request.http.body = body;
        request
    }

    /// Sets a JSON body. Fails only for what can't be JSON, such as a map whose keys aren't text.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Fault> {
        match serde_json::to_vec(value) {
            Ok(body) => Ok(self.body("application/json", body)),
            Err(error) => Err(Fault::broken(
                "unwritable-json",
                format!(
                    "a request body can't be written as JSON ({:?})",
                    error.classify()
                ),
            )),
        }
    }

    /// Goes to another origin of the manifest than `main`.
    pub fn origin(mut self, name: impl Into<String>) -> Self {
        self.http.origin = Some(name.into());
        self
    }

    /// The finished request.
    pub fn build(mut self) -> Request {
        self.request.operation = Operation::Http(self.http);
        self.request
    }
}

/// An SQL statement with positional parameters on the endpoint's database.
///
/// ```
/// use tidegate_sdk::{BatchBuilder, DataType, Sql};
///
/// let mut ids = BatchBuilder::new([("id", DataType::Integer)]);
/// ids.row().set("id", 7)?;
/// let request = Sql::new("SELECT name FROM people WHERE id = ?1")
///     .parameters(ids.finish())
///     .results([DataType::Text])
///     .build();
/// # assert!(request.rows.is_empty());
/// # Ok::<(), tidegate_sdk::WrongField>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sql {
    request: Request,
    sql: SqlRequest,
}

around!(Sql);

impl Sql {
    /// A statement that is executed once, without parameters.
    pub fn new(statement: impl Into<String>) -> Self {
        let sql = SqlRequest {
            statement: statement.into(),
            parameters: Batch {
                rows: 1,
                columns: Vec::new(),
            },
            result_types: Vec::new(),
            transaction: None,
            rows_max: SQL_ROWS_MAX,
        };
        Self {
            request: Request::new(Operation::Sql(sql.clone())),
            sql,
        }
    }

    /// One column per parameter, in order; one execution per row.
    pub fn parameters(mut self, parameters: Batch) -> Self {
        self.sql.parameters = parameters;
        self
    }

    /// The types to read the result's columns as, in order.
    pub fn results(mut self, types: impl IntoIterator<Item = DataType>) -> Self {
        self.sql.result_types = types.into_iter().collect();
        self
    }

    /// Statements of one call with the same number commit or roll back together.
    pub fn transaction(mut self, number: u32) -> Self {
        self.sql.transaction = Some(number);
        self
    }

    /// The most result rows, 10,000 when not given.
    pub fn rows_max(mut self, rows: u32) -> Self {
        self.sql.rows_max = rows;
        self
    }

    /// The finished request.
    pub fn build(mut self) -> Request {
        self.request.operation = Operation::Sql(self.sql);
        self.request
    }
}

/// The next stretch of a database's change stream.
#[derive(Clone, Debug)]
#[must_use]
pub struct Feed {
    request: Request,
    feed: FeedRequest,
}

around!(Feed);

impl Feed {
    /// From `position` on, which is what an earlier answer gave, or empty for the start.
    pub fn new(feed: impl Into<String>, position: Vec<u8>, changes_max: u32, wait_ms: u32) -> Self {
        let feed = FeedRequest {
            feed: feed.into(),
            position,
            changes_max,
            wait_ms,
        };
        Self {
            request: Request::new(Operation::Feed(feed.clone())),
            feed,
        }
    }

    /// The finished request.
    pub fn build(mut self) -> Request {
        self.request.operation = Operation::Feed(self.feed);
        self.request
    }
}

impl From<Http> for Request {
    fn from(http: Http) -> Self {
        http.build()
    }
}

impl From<Sql> for Request {
    fn from(sql: Sql) -> Self {
        sql.build()
    }
}

impl From<Feed> for Request {
    fn from(feed: Feed) -> Self {
        feed.build()
    }
}

/// Percent-encodes one segment of a path, such as an external id with a slash in it.
///
/// ```
/// assert_eq!(tidegate_sdk::segment("a/b c"), "a%2Fb%20c");
/// ```
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
