//! The health listener: HTTP/1.1, four paths, nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{debug, info};

use super::Health;

/// A probe that sends no request for this long is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any kubelet and monitoring system open at once.
const CONNECTIONS: usize = 32;

/// Listens and serves in the background for as long as the runtime lives.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(address: SocketAddr, health: Health) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address} for health checks: free the port, or correct \
             --healthz-ip and --healthz-port"
        )
    })?;
    let local = listener.local_addr()?;
    info!(address = %local, "serving /healthz, /livez, /readyz and /metrics");
    tokio::spawn(accept(listener, health));
    Ok(local)
}

async fn accept(listener: TcpListener, health: Health) {
    let free = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = health.clone();
                tokio::spawn(async move {
                    converse(stream, health).await;
                    drop(permit);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept a health check");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, health: Health) {
    let service = service_fn(move |request| {
        let response = answer(&request, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "a health check broke off");
    }
}

fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
    }
    let verbose = request.uri().query().is_some_and(asks_for_more);
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "flanneld is running".to_owned()),
        "/livez" => live(health),
        "/readyz" => ready(health, verbose),
        "/metrics" => text(StatusCode::OK, health.metrics()),
        _ => {
            let paths = "there are /healthz, /livez, /readyz and /metrics\n";
            text(StatusCode::NOT_FOUND, paths.to_owned())
        }
    }
}

fn asks_for_more(query: &str) -> bool {
    query.split('&').any(|word| word == "verbose" || word.starts_with("verbose="))
}

fn live(health: &Health) -> Response<Full<Bytes>> {
    match health.hung() {
        None => text(StatusCode::OK, "ok".to_owned()),
        Some(why) => text(StatusCode::INTERNAL_SERVER_ERROR, why),
    }
}

fn ready(health: &Health, verbose: bool) -> Response<Full<Bytes>> {
    let (status, short) = if health.is_ready() {
        (StatusCode::OK, "flanneld is ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "flanneld is not ready yet")
    };
    text(status, if verbose { health.verbose() } else { short.to_owned() })
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use tartan_datapath::Features;

    use super::super::Check;
    use super::*;

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn probes_get_flannelds_words() {
        let health = Health::default();
        let address = serve((Ipv4Addr::LOCALHOST, 0).into(), health.clone()).await.unwrap();
        assert_eq!(get(address, "/healthz").await, (200, "flanneld is running".to_owned()));
        assert_eq!(get(address, "/readyz").await, (503, "flanneld is not ready yet".to_owned()));
        health.passed();
        assert_eq!(get(address, "/readyz").await, (200, "flanneld is ready".to_owned()));
        assert_eq!(get(address, "/livez").await, (200, "ok".to_owned()));
        assert_eq!(get(address, "/").await.0, 404);
        health.features(Features::ALL);
        let (status, page) = get(address, "/metrics").await;
        assert!(status == 200 && page.starts_with("# HELP tartan_"), "{page}");
    }

    #[tokio::test]
    async fn verbose_lists_the_checks() {
        let health = Health::default();
        health.failed(Check::Lease, "no podCIDR");
        let address = serve((Ipv4Addr::LOCALHOST, 0).into(), health).await.unwrap();
        let (status, body) = get(address, "/readyz?verbose").await;
        assert_eq!(status, 503);
        assert!(body.contains("[-]lease failed: no podCIDR"), "{body}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_its_flag() {
        let address = serve((Ipv4Addr::LOCALHOST, 0).into(), Health::default()).await.unwrap();
        let error = serve(address, Health::default()).await.unwrap_err();
        assert!(error.to_string().contains("--healthz-port"), "{error}");
    }
}
