//! The tenant beside it.

use std::time::{Duration, Instant};

use axum::http::Request;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use mqtt_access_tests::operator_fixture::{BUNDLES, Cluster, POLICIES, allow, namespace, tenant};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::LONG;

/// How long one edit took.
pub(crate) struct Edit {
    /// From the request until the bundle is another.
    whole: Duration,
    /// From when a watch of all policies, as the operator has one, shows it.
    operator: Duration,
}

/// The median and the worst.
pub(crate) fn spread(mut edits: Vec<Edit>) -> String {
    let count = edits.len();
    let mut told = |of: fn(&Edit) -> Duration| {
        edits.sort_by_key(of);
        let at = |place: usize| edits.get(place).map_or(0, |edit| of(edit).as_millis());
        format!("median {} ms, worst {} ms", at(count / 2), at(count.saturating_sub(1)))
    };
    let (whole, operator) = (told(|edit| edit.whole), told(|edit| edit.operator));
    format!("{whole} of {count}; since a watch showed it {operator}")
}

/// A tenant with one policy, which is edited again and again.
pub(crate) struct Neighbour {
    bundles: UnboundedReceiver<Instant>,
    shown: UnboundedReceiver<(String, Instant)>,
    round: usize,
}

impl Neighbour {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        cluster.apply([namespace("neighbour"), tenant("neighbour", "t")]).await;
        cluster.apply([allow("neighbour", "t", "own", &["neighbour/t/#"])]).await;
        cluster.wait_reason(POLICIES, "neighbour", "own", "Compiled", "Compiled").await;
        let (changed, bundles) = unbounded_channel();
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), BUNDLES);
        let index = "mqttaccess.io/bundle=index,mqttaccess.io/tenant-namespace=neighbour";
        let events = watcher(secrets, watcher::Config::default().labels(index));
        // It begins anew by itself when the API server does.
        tokio::spawn(events.default_backoff().for_each(move |event| {
            if matches!(event, Ok(Event::Apply(_))) {
                _ = changed.send(Instant::now());
            }
            futures::future::ready(())
        }));
        let (seen, shown) = unbounded_channel();
        tokio::spawn(watch_all(cluster.client.clone(), seen));
        cluster.settle().await;
        Self { bundles, shown, round: 0 }
    }

    pub(crate) async fn edits(&mut self, cluster: &Cluster, rounds: usize) -> String {
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(self.edit(cluster).await);
        }
        spread(times)
    }

    pub(crate) async fn edit(&mut self, cluster: &Cluster) -> Edit {
        tokio::time::sleep(Duration::from_millis(300)).await;
        while self.bundles.try_recv().is_ok() {}
        self.round += 1;
        let topic = format!("neighbour/t/round-{}", self.round);
        let rule = json!({"effect": "Allow", "actions": ["Publish"], "topics": [topic]});
        let start = Instant::now();
        cluster.patch(POLICIES, "neighbour", "own", &json!({"spec": {"rules": [rule]}})).await;
        let changed = timeout(LONG, self.bundles.recv()).await.unwrap().unwrap();
        let shown = loop {
            let (text, at) = timeout(LONG, self.shown.recv()).await.unwrap().unwrap();
            if text.contains(&format!("{topic}\"")) {
                break at;
            }
        };
        Edit { whole: changed.duration_since(start), operator: changed.saturating_duration_since(shown) }
    }
}

/// When events of the neighbour's policy come in, among those of all others.
async fn watch_all(client: kube::Client, seen: UnboundedSender<(String, Instant)>) {
    let path = "/apis/mqttaccess.io/v1alpha1/aclpolicies";
    loop {
        let get = |query: String| Request::get(format!("{path}?{query}")).body(Vec::new()).unwrap();
        let now = client.request::<Value>(get("limit=1".to_owned())).await.ok();
        let version = now.as_ref().and_then(|list| list.pointer("/metadata/resourceVersion")?.as_str());
        if let Some(version) = version
            && let Ok(events) =
                client.request_stream(get(format!("watch=1&timeoutSeconds=3600&resourceVersion={version}"))).await
        {
            let mut lines = events.lines();
            while let Ok(Some(line)) = lines.try_next().await {
                if line.contains("\"neighbour/t/") {
                    _ = seen.send((line, Instant::now()));
                }
            }
        }
        // The API server is away.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
