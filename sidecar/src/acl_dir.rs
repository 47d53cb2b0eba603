//! ACL files for brokers that read files: `acl.conf`, `mosquitto.acl` and `mosquitto.passwords` of all tenants in service, on
//! a volume that the sidecar shares with its broker.
//!
//! They are written from the bundles in service by the same code that writes the operator's `ConfigMap`s, so they agree with
//! the sidecar's answers: also while the API server is away, from a folder of bundles, at any size, and on the second at
//! which a credential expires. Until bundles are loaded a file of an earlier run stays, as the last good one; where there is
//! none, one that denies everything is put in its place, since brokers do not start without their file.
//!
//! What a tenant says is worked out on its own ([`sections`]), so that a tenant whose rules take long holds up nobody else's: the
//! file is written with what the others say by now, and with what this one said before.
//!
//! A file is written beside its place, synced and renamed: a broker reads the old one or the new one, and never a part, which
//! could lack a Deny. One that is as it should be is not touched; one that somebody has changed or removed is written again.
//! On failure the old file stays, and it is tried again all the time.
//!
//! Rules are readable by everybody (0644): they hold no secret. Hashes of passwords are readable by the group (0640): the
//! broker runs as another user, and a pod's `fsGroup` gives the volume and what is written to it a group that both have.
//!
//! Brokers do not notice by themselves. Mosquitto reads its files again at SIGHUP, EMQX its `acl.conf` only at its start, or
//! when it is handed over with `PUT /authorization/sources/file`. Telling them is up to whoever runs them: it takes rights
//! over the broker that a sidecar should not have.

mod sections;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use tokio::time::sleep;

use crate::store::Store;
use sections::Desk;
use write::Writer;

/// How often it is looked whether something is to be written.
const EVERY: Duration = Duration::from_millis(250);
/// How long edits and sections are gathered that come one upon the other.
const GATHER: Duration = Duration::from_millis(50);

/// Keeps the ACL files in a folder as what is in service says. Runs until it is dropped.
pub async fn keep_acl_files(store: Arc<Store>, folder: PathBuf) {
    let mut desk = Desk::new(Arc::clone(&store));
    let mut writer = Writer::new(Arc::clone(&store), folder.clone());
    loop {
        let said = match &Guard::into_inner(store.snapshot()).index {
            Some(index) => desk.follow(index),
            None => None,
        };
        // Writing is work for a thread that may block.
        let wrote = tokio::task::spawn_blocking(move || {
            writer.look(said);
            writer
        });
        writer = match wrote.await {
            Ok(after) => after,
            Err(error) if error.is_panic() => {
                // Giving up would leave what has expired in the files for ever.
                store.metrics().acl_file_failed();
                sleep(EVERY).await;
                Writer::new(Arc::clone(&store), folder.clone())
            }
            // The runtime is stopping.
            Err(_) => return,
        };
        tokio::select! {
            () = sleep(EVERY) => {}
            () = desk.one_is_ready() => sleep(GATHER).await,
        }
    }
}
