//! A job and its rows in one request.

use axum::body::Bytes;
use futures::{FutureExt, stream};
use multer::Multipart;

use crate::salesforce::answer::ApiError;
use crate::salesforce::call::Call;

/// The parts called `job` and `content`; nothing where the request is none of several parts.
pub(super) fn parts(call: &Call) -> Result<Option<(Bytes, Bytes)>, ApiError> {
    let content_type = call.header("content-type").unwrap_or_default();
    let Ok(boundary) = multer::parse_boundary(content_type) else {
        return Ok(None);
    };
    let malformed = || {
        let message = "The request needs a part called job and a part called content";
        ApiError::bad("INVALID_MULTIPART_REQUEST", message)
    };
    let body = stream::iter([Ok::<_, std::convert::Infallible>(call.body.clone())]);
    // All of the body is there, so nothing in it is ever waited for.
    read(Multipart::new(body, boundary))
        .now_or_never()
        .and_then(Result::ok)
        .and_then(|(job, content)| job.zip(content))
        .map(Some)
        .ok_or_else(malformed)
}

async fn read(mut parts: Multipart<'_>) -> Result<(Option<Bytes>, Option<Bytes>), multer::Error> {
    let (mut job, mut content) = (None, None);
    while let Some(part) = parts.next_field().await? {
        match part.name() {
            Some("job") => job = Some(part.bytes().await?),
            Some("content") => content = Some(part.bytes().await?),
            _ => {}
        }
    }
    Ok((job, content))
}
