//! What applications do with the token service, in one namespace.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_tests::https::Https;
use mqtt_access_tests::operator_fixture::{DEVICES, SOON, client_id, device, edited};
use mqtt_access_tests::vendor_client::{VendorClient, VendorError};
use mqtt_access_tests::wait;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::release::{Release, Team};

/// Issues, looks up and revokes, as the holder of an access key and as an account that RBAC lets do it; at both replicas.
pub(crate) async fn use_tokens(release: &Release<'_>, team: Team) {
    let (id, secret) = key(release, team, "backend").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    permit(release, team).await;
    let bearer = format!("Bearer {}", release.cluster.plane.service_account_token(team.name, "app").await);
    let order = json!({"actions": "R", "resources": [format!("{}/t/x", team.name)], "expiresIn": 600});
    for (replica, authorization, access_key) in [(0, &basic, None), (1, &bearer, Some("backend"))] {
        let https = release.https(replica);
        let order = edited(order.clone(), &access_key.map_or(json!({}), |name| json!({"accessKey": name})));
        let issued = post(&https, team, "", authorization, &order, 201).await;
        let token = json!({"token": issued["token"]});
        assert_eq!(post(&https, team, "/query", authorization, &token, 200).await["valid"], true);
        post(&https, team, "/revoke", authorization, &token, 204).await;
        assert_eq!(post(&https, team, "/query", authorization, &token, 200).await["reason"], "TokenRevoked");
    }
}

/// Waits for an answer: a replica may be starting, and rights count a moment after they are given.
async fn post(https: &Https, team: Team, path: &str, authorization: &str, body: &Value, expected: u16) -> Value {
    let path = format!("/v1/namespaces/{}/tenants/t/tokens{path}", team.name);
    let mut last = None;
    let reply = tokio::time::timeout(SOON, async {
        loop {
            match https.post(&path, authorization, body).await {
                Ok(reply) if reply.status == expected => return reply,
                other => last = Some(other),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let reply = reply.unwrap_or_else(|_| panic!("{path}: {last:?}"));
    serde_json::from_str(&reply.body).unwrap_or_default()
}

/// The account `app` may do with tokens what it likes.
async fn permit(release: &Release<'_>, team: Team) {
    let object = |kind: &str, rest: Value| {
        let metadata = json!({"namespace": team.name, "name": "issuer"});
        edited(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata}), &rest)
    };
    let rules = json!([{"apiGroups": ["mqttaccess.io"], "resources": ["mqtttenants/tokens"], "verbs": ["create", "get", "delete"]}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "issuer"});
    let subjects = json!([{"kind": "ServiceAccount", "namespace": team.name, "name": "app"}]);
    let binding = object("RoleBinding", json!({"roleRef": role, "subjects": subjects}));
    release.cluster.apply([object("Role", json!({"rules": rules})), binding]).await;
}

/// ID and secret of an access key.
async fn key(release: &Release<'_>, team: Team, name: &str) -> (String, String) {
    let secret = release.cluster.secret(team.name, &format!("t-{name}-access-key")).await.unwrap();
    (secret.text("accessKeyId"), secret.text("accessKeySecret"))
}

/// The vendor's calls about devices; and one that finds the name taken by a device that somebody declared.
pub(crate) async fn register_devices(release: &Release<'_>, team: Team) {
    let (ns, (id, secret)) = (team.name, key(release, team, "registrar").await);
    let authority = release.folder().join("authority.pem");
    let service = release.services()[team.own];
    let mut vendor = VendorClient::start(service, &authority, "ACS3-HMAC-SHA256", &id, &secret);
    let mut call = |action: &str| -> Result<Value, VendorError> {
        let parameters = json!({"InstanceId": format!("mqtt-{ns}-t"), "ClientId": client_id(ns, "t", "registered")});
        block_in_place(|| vendor.call(action, &parameters))
    };
    for action in ["RegisterDeviceCredential", "RefreshDeviceCredential", "GetDeviceCredential"] {
        call(action).unwrap_or_else(|error| panic!("{action}: {error:?}"));
    }
    let all = release.cluster.all(DEVICES).await;
    let registered = all.iter().find(|device| device["spec"]["clientId"] == client_id(ns, "t", "registered").as_str());
    let name = registered.unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    call("UnRegisterDeviceCredential").unwrap_or_else(|error| panic!("{error:?}"));
    wait::until("the device to be gone", SOON, async || {
        release.cluster.get(DEVICES, ns, &name).await.is_none().then_some(())
    })
    .await;
    let in_the_way = json!({"metadata": {"name": name}, "spec": {"clientId": client_id(ns, "t", "declared")}});
    release.cluster.apply([edited(device(ns, "t", "declared"), &in_the_way)]).await;
    release.cluster.wait_device(ns, &name, "Ready").await;
    let refused = call("RegisterDeviceCredential").unwrap_err();
    assert_eq!(refused.code, "PermissionCheckFailed", "{refused:?}");
    release.cluster.delete(DEVICES, ns, &name).await;
}
