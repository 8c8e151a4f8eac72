//! One listening server: it can refuse, fall silent, cut its connections, and come back at the
//! same address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::{Fault, Faults, Verb};
use crate::service::{Seen, Service};
use crate::view::{Lag, View};

/// Another program may hold the port for a moment.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// How a server behaves towards the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It answers.
    Serving,
    /// As if stopped: the kernel takes connections and bytes, nobody reads them.
    Silent,
    /// As if killed: connections are cut and refused.
    Refusing,
}

/// What every connection obeys; a new number cuts those of the older ones.
type Order = (Mode, u64);

/// A listening server; ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    service: Service,
    order: watch::Sender<Order>,
    lag: watch::Sender<Lag>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `address`; must be called inside a tokio runtime.
    pub(crate) async fn start(
        address: SocketAddr,
        shared: Arc<crate::shared::Shared>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let lag = watch::Sender::new(Lag::None);
        let view = View { shared, lag: lag.subscribe() };
        let service = Service { view, faults: Arc::new(Faults::new()), seen: Arc::default() };
        let order = watch::Sender::new((Mode::Serving, 0));
        let task = tokio::spawn(run(listener, service.clone(), order.subscribe()));
        Ok(Self { address, service, order, lag, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, as a kubeconfig has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes its behaviour towards the network.
    pub fn set_mode(&self, mode: Mode) {
        self.order.send_modify(|(now, _)| *now = mode);
    }

    /// Resets every connection that is open now.
    pub fn cut_connections(&self) {
        self.order.send_modify(|(_, number)| *number += 1);
    }

    /// How far it is behind the store.
    pub fn set_lag(&self, lag: Lag) {
        self.lag.send_replace(lag);
    }

    /// It sees nothing of what comes after now.
    pub fn stop_seeing(&self) {
        let now = self.service.view.shared.etcd().revision();
        self.set_lag(Lag::StoppedAt(now));
    }

    /// The next `times` requests of this kind meet the fault.
    pub fn script(&self, verb: Verb, times: usize, fault: &Fault) {
        self.service.faults.script(verb, times, fault);
    }

    /// Every watch under way meets the fault now.
    pub fn strike(&self, fault: Fault) {
        self.service.faults.strike(fault);
    }

    /// Everything is well again: it serves, sees all, and its script is empty.
    pub fn heal(&self) {
        self.service.faults.clear();
        self.set_lag(Lag::None);
        self.set_mode(Mode::Serving);
    }

    /// What it was asked since the last call.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.service.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(listener: TcpListener, service: Service, mut order: watch::Receiver<Order>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    // Dropped with this task, it ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let (mode, number) = *order.borrow_and_update();
        match (mode, &listener) {
            (Mode::Refusing, _) => {
                connections.shutdown().await;
                listener = None;
                if order.changed().await.is_err() {
                    return;
                }
            }
            (_, None) => listener = bind_again(address).await,
            (Mode::Silent, Some(_)) => {
                if order.changed().await.is_err() {
                    return;
                }
            }
            (Mode::Serving, Some(open)) => tokio::select! {
                accepted = open.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, service.clone(), order.clone(), number));
                },
                changed = order.changed() => if changed.is_err() { return },
                Some(_) = connections.join_next() => {}
            },
        }
    }
}

async fn bind_again(address: SocketAddr) -> Option<TcpListener> {
    let listener = TcpListener::bind(address).await.ok();
    if listener.is_none() {
        tokio::time::sleep(BIND_AGAIN).await;
    }
    listener
}

/// One connection; while the server is silent, nobody polls it.
async fn serve(
    stream: TcpStream,
    service: Service,
    mut order: watch::Receiver<Order>,
    number: u64,
) {
    let Some((stream, handle)) = with_handle(stream) else { return };
    let answer = service_fn(|request| service.clone().answer(request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    loop {
        let (mode, now) = *order.borrow_and_update();
        if now != number {
            return reset(&handle);
        }
        tokio::select! {
            // Its errors are the client's, or wanted.
            _ = connection.as_mut(), if mode != Mode::Silent => return,
            changed = order.changed() => if changed.is_err() { return },
        }
    }
}

/// A second handle of the socket, to reset it while hyper has the first.
fn with_handle(stream: TcpStream) -> Option<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std().ok()?;
    let handle = stream.try_clone().ok()?;
    Some((TcpStream::from_std(stream).ok()?, handle))
}

/// Its close sends a reset, not an orderly end.
fn reset(handle: &impl AsFd) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // Where it fails, the end is an orderly one.
    let _ = setsockopt(handle, sockopt::Linger, &linger);
}
