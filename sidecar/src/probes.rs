//! The thread that answers probes: however busy those are that answer brokers, `/livez` and `/readyz` are not silent.

use std::io;
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::listener::{Limits, listen};

/// A kubelet, a Prometheus or two, and whoever looks by hand. Anybody may reach this listener: it sheds, too.
const LIMITS: Limits = Limits { connections: 64, head: Duration::from_secs(10), head_bytes: 512 * 1024 };

/// Answers probes until it is dropped.
#[derive(Debug)]
pub struct Probes {
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Probes {
    /// Answers on a listener, on a thread of its own.
    pub fn start(listener: TcpListener, router: Router) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new().name("probes".to_owned()).spawn(move || {
            if let Err(error) = answer(&runtime, listener, &router, stopped) {
                tracing::error!(%error, "probes are not answered");
            }
            // An explanation that is under way need not be waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { _stop: stop })
    }
}

fn answer(
    runtime: &Runtime,
    listener: std::net::TcpListener,
    router: &Router,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let open = |stream, _| std::future::ready(Some((stream, router.clone())));
        listen(listener, LIMITS, open, async { _ = stopped.await }).await;
        Ok(())
    })
}
