//! What a real API server says about a case, asked as `kubectl apply` asks: with strict field validation.

use axum::http::{Method, Request};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use mqtt_access_operator::manifest::validate::Kind;
use serde_json::Value;

use super::cases::Case;

const NAMESPACE: &str = "cases";

/// An API server with a namespace for cases.
pub(crate) struct ApiServer {
    client: Client,
}

impl ApiServer {
    /// Creates the namespace.
    pub(crate) async fn new(client: Client) -> Self {
        let namespaces = Api::<Namespace>::all(client.clone());
        let namespace = serde_json::from_value(serde_json::json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.expect("create a namespace");
        Self { client }
    }

    /// The object as it would be stored, or why it is refused. Leaves nothing behind.
    pub(crate) async fn outcome(&self, case: &Case) -> Result<Value, String> {
        let Some(update) = &case.update else {
            return self.send(Method::POST, &path(case.kind, ""), "dryRun=All&", &case.object).await;
        };
        let stored =
            self.send(Method::POST, &path(case.kind, ""), "", &case.object).await.expect("the object is accepted");
        let name = stored["metadata"]["name"].as_str().unwrap();
        let mut update = update.clone();
        update["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let outcome = self.send(Method::PUT, &path(case.kind, name), "dryRun=All&", &update).await;
        self.send(Method::DELETE, &path(case.kind, name), "", &Value::Null).await.expect("delete the object");
        outcome
    }

    async fn send(&self, method: Method, path: &str, query: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?{query}fieldValidation=Strict"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        self.client.request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => status.message,
            other => panic!("the API server cannot be asked: {other:?}"),
        })
    }
}

fn path(kind: Kind, name: &str) -> String {
    let plural = match kind {
        Kind::MqttTenant => "mqtttenants",
        Kind::DeviceCredential => "devicecredentials",
        Kind::AclPolicy => "aclpolicies",
    };
    format!("/apis/mqttaccess.io/v1alpha1/namespaces/{NAMESPACE}/{plural}/{name}").trim_end_matches('/').to_owned()
}
