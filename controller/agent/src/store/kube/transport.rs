//! Requests to the API server, each with a time limit, and connections that do not die unnoticed.
//!
//! HTTP/2 with pings where the server speaks TLS; HTTP/1.1 otherwise, where only the silence of
//! the watch tells. After a time limit the next request gets a connection of its own.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::rt::{Read, Write};
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use tartan_core::reflector::{Failure, parse_status};
use tokio::time::timeout;
use tower::{Service, ServiceExt as _};

use super::Timing;
use super::config::Access;

/// More than 500 of the largest Nodes that were ever seen; a page that is longer is no page.
const LONGEST_ANSWER: usize = 64 << 20;
/// The `Status` of a failure is short.
const LONGEST_STATUS: usize = 64 << 10;
/// Errors are told in one line of this many characters at most.
const LONGEST_LINE: usize = 300;

type BoxError = Box<dyn Error + Send + Sync>;

/// The way to the API server.
pub(super) struct Transport {
    access: Access,
    timing: Timing,
    current: Mutex<Current>,
}

/// The client in use, and how many there were before.
#[derive(Default)]
struct Current {
    serial: u64,
    client: Option<Client>,
}

impl Transport {
    /// The way that `access` describes. No connection is made.
    ///
    /// # Errors
    /// What is wrong with the credentials, in one line.
    pub(super) fn new(access: Access, timing: Timing) -> Result<Self, String> {
        let client = build(&access, &timing).map_err(|error| line(&*error))?;
        let current = Mutex::new(Current { serial: 0, client: Some(client) });
        Ok(Self { access, timing, current })
    }

    /// The API server's address.
    pub(super) fn server(&self) -> &Uri {
        &self.access.config.cluster_url
    }

    /// The whole body of a successful answer.
    pub(super) async fn answer(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        let serial = self.lock().serial;
        let whole = async {
            let response = self.send(request).await?;
            read(response.into_body(), LONGEST_ANSWER).await
        };
        let answer = timeout(self.timing.request, whole).await.unwrap_or(Err(Failure::Timeout));
        self.renew_after(serial, answer.as_ref().err());
        answer
    }

    /// The body of a successful answer that is still being written.
    pub(super) async fn open(&self, request: Request<Vec<u8>>) -> Result<Body, Failure> {
        let serial = self.lock().serial;
        let opened = timeout(self.timing.request, self.send(request)).await;
        let opened = opened.unwrap_or(Err(Failure::Timeout));
        self.renew_after(serial, opened.as_ref().err());
        opened.map(Response::into_body)
    }

    /// Nothing further is sent over the connections that there are.
    pub(super) fn renew(&self) {
        let mut current = self.lock();
        current.client = None;
        current.serial += 1;
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        let client = self.client()?;
        let sent = client.send(request.map(Body::from)).await;
        let response = sent.map_err(|error| Failure::Connection(line(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = read(response.into_body(), LONGEST_STATUS).await.unwrap_or_default();
        Err(parse_status(&body, code, retry_after))
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut current = self.lock();
        if let Some(client) = &current.client {
            return Ok(client.clone());
        }
        let client = build(&self.access, &self.timing)
            .map_err(|error| Failure::Connection(line(&*error)))?;
        current.client = Some(client.clone());
        Ok(client)
    }

    fn renew_after(&self, serial: u64, failure: Option<&Failure>) {
        let is_dead = failure.is_some_and(|failure| !failure.is_an_answer());
        if is_dead && self.lock().serial == serial {
            self.renew();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(access: &Access, timing: &Timing) -> Result<Client, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timing.connect));
    tcp.set_keepalive(Some(timing.ping_interval));
    match &access.proxy {
        None => build_over(access, timing, tcp),
        Some(proxy) => build_over(access, timing, Tunnel::new(proxy.clone(), tcp)),
    }
}

fn build_over<C>(access: &Access, timing: &Timing, connector: C) -> Result<Client, BoxError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let config = &access.config;
    let tls = config.rustls_client_config()?;
    let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into()?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https = https.enable_http1().enable_http2().wrap_connector(connector);
    // Around TLS, so that a server that takes the connection and says nothing is found out.
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(timing.connect));
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(timing.ping_interval)
        .http2_keep_alive_timeout(timing.ping_timeout)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let base = config.base_uri_layer();
    let http = http.map_err(BoxError::from);
    let builder = ClientBuilder::new(http, "default").with_layer(&config.extra_headers_layer()?);
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&base).build(),
        None => builder.with_layer(&base).build(),
    })
}

async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Connection(line(&error)))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(Failure::Malformed(format!("longer than {limit} bytes")));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// Retry-After in seconds, the only form that API servers use.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let header = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = header.parse().ok().filter(|_| later.contains(&response.status()))?;
    Some(Duration::from_secs(seconds))
}

/// An error with its causes, in one line that a log can take.
pub(super) fn line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).take(LONGEST_LINE).collect()
}
