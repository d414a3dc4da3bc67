//! What the gateway answers.

use serde::de::DeserializeOwned;

use crate::bindings::connector::tidegate::plugin::gateway;
use crate::fault::Fault;

pub use gateway::{
    Answer, FeedChangeKind, FeedChanges, FeedResponse, HttpResponse, Response, SqlResponse,
};

fn mismatch(expected: &str) -> Fault {
    Fault::broken(
        "wrong-answer",
        format!("the host answered with something else than {expected}; report this to its makers"),
    )
}

impl Response {
    /// The answer to an HTTP request.
    pub fn into_http(self) -> Result<HttpResponse, Fault> {
        match self.answer {
            Answer::Http(response) => Ok(response),
            _ => Err(mismatch("an HTTP response")),
        }
    }

    /// The answer to an SQL request.
    pub fn into_sql(self) -> Result<SqlResponse, Fault> {
        match self.answer {
            Answer::Sql(response) => Ok(response),
            _ => Err(mismatch("rows")),
        }
    }

    /// The answer to a feed request.
    pub fn into_feed(self) -> Result<FeedResponse, Fault> {
        match self.answer {
            Answer::Feed(response) => Ok(response),
            _ => Err(mismatch("a stretch of a feed")),
        }
    }
}

impl HttpResponse {
    /// A status from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, whatever the case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }

    /// The body as JSON. The fault names the place in the document and its media type, never its content.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let media_type = self.header("content-type").unwrap_or("no media type");
            Fault::broken(
                "not-the-json-expected",
                format!(
                    "status {} with {media_type}, {} bytes: {} at line {}, column {}",
                    self.status,
                    self.body.len(),
                    match error.classify() {
                        serde_json::error::Category::Data => "JSON of another shape",
                        serde_json::error::Category::Eof => "JSON that is cut off",
                        _ => "not JSON",
                    },
                    error.line(),
                    error.column(),
                ),
            )
        })
    }
}
