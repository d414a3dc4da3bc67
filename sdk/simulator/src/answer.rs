//! What goes back to a client: a status, headers and a body.

use std::io;

use axum::body::Body as HttpBody;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

/// An answer before it meets the wire.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    Text(&'static str, String),
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Json(body),
        }
    }

    pub(crate) fn text(status: u16, media_type: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Text(media_type, text.into()),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn dated(self, now_ms: u64) -> Self {
        self.with("date", http_date(now_ms))
    }

    /// As it goes over the wire; where it is cut short, half of the body follows the length of the whole.
    pub(crate) fn response(self, truncated: bool) -> Response {
        let (media_type, bytes) = match self.body {
            Body::Empty => (None, Vec::new()),
            Body::Json(body) => (
                Some("application/json;charset=UTF-8"),
                body.to_string().into_bytes(),
            ),
            Body::Text(media_type, text) => (Some(media_type), text.into_bytes()),
        };
        let length = bytes.len();
        let body = if truncated && length > 1 {
            short(bytes, length / 2)
        } else {
            HttpBody::from(bytes)
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(media_type) = media_type {
            headers.insert("content-type", HeaderValue::from_static(media_type));
            headers.insert("content-length", HeaderValue::from(length));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// As in a `Date` header.
pub(crate) fn http_date(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms)
        .unwrap_or(Timestamp::MAX)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// A body that fails after so many bytes, when the content-length has promised more.
fn short(mut bytes: Vec<u8>, length: usize) -> HttpBody {
    bytes.truncate(length);
    let end = async {
        // What came before is only sent once the body makes the connection wait.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let parts = stream::iter([Ok(bytes)]).chain(stream::once(end));
    HttpBody::from_stream(parts)
}
