//! Answers as bytes on the wire: whole, in pieces, or broken as the script wants it.

use std::io;

use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::fault::Fault;
use crate::status::Failure;
use crate::watching::Watching;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A JSON answer.
pub(crate) fn json(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    with_body(code, Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

/// A refusal.
pub(crate) fn failure(failure: &Failure) -> Response<Body> {
    let mut response = json(failure.code, format!("{}\n", failure.to_json()));
    if let Some(seconds) = failure.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A plain text.
pub(crate) fn text(text: &'static str) -> Response<Body> {
    let mut response = json(200, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A JSON answer that the script breaks.
pub(crate) fn broken_json(bytes: Vec<u8>, fault: &Fault) -> Response<Body> {
    streamed(stream::iter([Ok(Bytes::from(bytes))]), Some(fault))
}

/// A watch.
pub(crate) fn watch(watching: Watching, fault: Option<&Fault>) -> Response<Body> {
    let lines = stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        let piece = watching.next().await?;
        // After an error the connection is gone, and with it the watch.
        let rest = piece.is_ok().then_some(watching);
        Some((piece, rest))
    });
    streamed(lines, fault)
}

fn with_body(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn streamed(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    fault: Option<&Fault>,
) -> Response<Body> {
    let pieces = match fault {
        Some(Fault::Chop(size)) => chopped(pieces, (*size).max(1)).boxed(),
        Some(Fault::Truncate(size)) => ended_after(pieces, *size, None).boxed(),
        Some(Fault::CutAfter(size)) => {
            ended_after(pieces, *size, Some(io::ErrorKind::ConnectionReset)).boxed()
        }
        _ => pieces.boxed(),
    };
    with_body(200, StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync())
}

fn chopped(
    pieces: impl Stream<Item = io::Result<Bytes>>,
    size: usize,
) -> impl Stream<Item = io::Result<Bytes>> {
    pieces.flat_map(move |piece| {
        let parts: Vec<_> = match piece {
            Ok(piece) => piece.chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(parts)
    })
}

/// The first `size` bytes; then the end, in order or by an error.
fn ended_after(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send,
    size: usize,
    error: Option<io::ErrorKind>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let cut = pieces.scan(size, |left, piece| {
        let part = piece.map(|piece| piece.slice(..piece.len().min(*left)));
        let go_on = *left > 0;
        *left -= part.as_ref().map_or(0, Bytes::len);
        std::future::ready(go_on.then_some(part))
    });
    cut.chain(stream::iter(error.map(|kind| Err(kind.into()))))
}
