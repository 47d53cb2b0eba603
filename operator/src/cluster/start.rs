//! Wiring: watches into caches into the queue, and workers that reconcile once every cache is complete and this replica
//! leads.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::controller::{self, Context};
use super::leader::{Election, Fence, Lost};
use super::token_service::Cluster;
use super::watches::watches;
use super::{acl_files, admin, figures};
use crate::config::Config;
use crate::credential::NoRandomness;
use crate::service::{self, ServiceError};

/// How many tenants are reconciled at once.
const WORKERS: usize = 4;
/// Every tenant is looked at again after this time, whatever was heard of it.
const RESYNC: Duration = Duration::from_mins(10);
/// How long reconciles that have begun may take at a shutdown: another replica waits for the Lease.
const GRACE: Duration = Duration::from_millis(500);

/// Why the controller does not start, or ends.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// There is no cluster to talk to.
    #[error("no cluster is configured; set KUBECONFIG, or run in a pod with a service account")]
    Client(#[source] kube::Error),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {0}; choose another address with `--admin`, or stop what listens there")]
    Listen(SocketAddr, #[source] io::Error),
    /// A replica would have no name of its own.
    #[error("cannot stand for election")]
    Identity(#[from] NoRandomness),
    /// A task of the controller ended.
    #[error("a task of the controller ended; see the log")]
    Task,
    /// Another replica may lead now.
    #[error("this replica does not lead any more")]
    Lease(#[from] Lost),
    /// The token service is configured and does not start.
    #[error("the token service ended")]
    Service(#[from] ServiceError),
}

/// Runs the controller until `shutdown`. `admin` is where probes and metrics are answered, if anywhere.
pub(crate) async fn run(
    config: Config,
    admin: Option<SocketAddr>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let admin = match admin {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))?),
        None => None,
    };
    let client = Client::try_default().await.map_err(StartError::Client)?;
    let fence = Arc::new(Fence::new(config.leader_election.is_some()));
    let election = config.leader_election.as_ref();
    let election = election.map(|settings| Election::new(client.clone(), settings, Arc::clone(&fence))).transpose()?;
    let context = Arc::new(Context::new(client, config, fence));
    let (stop, stopped) = watch::channel(false);
    let mut tasks: JoinSet<()> = watches(&context).into_iter().collect();
    tasks.spawn(resync(Arc::clone(&context)));
    tasks.spawn(figures::check(Arc::clone(&context)));
    admin.map(|listener| tasks.spawn(admin::serve(listener, Arc::clone(&context))));
    let mut workers = JoinSet::new();
    (0..WORKERS).for_each(|_| _ = workers.spawn(work(Arc::clone(&context))));
    workers.spawn(acl_files::keep(Arc::clone(&context)));
    workers.spawn(acl_files::work(Arc::clone(&context)));
    let service = token_service(&context, stopped);
    tokio::pin!(service);
    tokio::select! {
        ended = &mut service => Err(ended.err().map_or(StartError::Task, StartError::Service)),
        // None of them ends by itself: it panicked. A new process begins with complete caches.
        _ = tasks.join_next() => Err(StartError::Task),
        _ = workers.join_next() => Err(StartError::Task),
        lost = lead(&context, election.as_ref()) => Err(StartError::Lease(lost)),
        () = shutdown => {
            tracing::info!("stopping");
            stop.send_replace(true);
            let (ended, ()) = tokio::join!(service, hand_over(&context, workers, election.as_ref()));
            ended.map_err(StartError::Service)
        }
    }
}

/// Until the Lease is lost; for ever where there is no election. Who knows nothing yet does not stand in the way of one who does.
async fn lead(context: &Context, election: Option<&Election>) -> Lost {
    context.ready().await;
    match election {
        Some(election) => match election.run().await {
            Err(lost) => lost,
        },
        None => std::future::pending().await,
    }
}

/// What has begun is finished, for a moment; then another replica may begin.
async fn hand_over(context: &Context, mut workers: JoinSet<()>, election: Option<&Election>) {
    context.queue.close();
    context.acl_files.close();
    let finished = async { while workers.join_next().await.is_some() {} };
    // Whoever stands by has begun nothing.
    if context.fence.is_open() && context.is_ready() && timeout(GRACE, finished).await.is_err() {
        tracing::info!("reconciles that take long are cut off; they are begun anew by whoever leads next");
    }
    if let Some(election) = election {
        election.release().await;
    }
}

/// Until it is told to stop; at once and for ever nothing where none is configured.
async fn token_service(context: &Arc<Context>, mut stopped: watch::Receiver<bool>) -> Result<(), ServiceError> {
    let stop = async move { _ = stopped.wait_for(|stopped| *stopped).await };
    if let Some(config) = &context.config.token_service {
        return service::run(config, Arc::new(Cluster(Arc::clone(context))), stop).await;
    }
    stop.await;
    Ok(())
}

/// One tenant after the other, until the queue is closed.
async fn work(context: Arc<Context>) {
    context.ready().await;
    while let Some(key) = context.queue.next().await {
        controller::reconcile(&context, &key).await;
        context.queue.done(&key);
    }
}

/// Asks for every tenant at the start, when this replica begins to lead, and now and then.
async fn resync(context: Arc<Context>) {
    context.ready().await;
    tracing::info!("every cache is complete");
    let mut leads = context.fence.is_open();
    loop {
        let names = context.world(|world| world.tenant_names());
        names.into_iter().for_each(|name| context.queue.push(name, Duration::ZERO));
        tokio::select! {
            () = tokio::time::sleep(RESYNC) => {}
            () = context.fence.opened(), if !leads => leads = true,
        }
    }
}
