//! The vendor's API as an application server sees it. The vendor's own client asks it in the project's tests.

mod altered;

use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha1::Sha1;

use super::super::tests::{INSTANCE, Replied, Running, secret};
use super::*;

type Pairs = Vec<(String, String)>;

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn at(seconds: i64) -> String {
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What every request carries.
fn common(key: &str, action: &str) -> Pairs {
    let nonce = crate::service::fresh_id().unwrap();
    let mut common = pairs(&[
        ("Action", action),
        ("Version", VERSION),
        ("Format", "json"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &nonce),
        ("InstanceId", INSTANCE),
    ]);
    common.extend([("AccessKeyId".to_owned(), format!("AK.{key}")), ("Timestamp".to_owned(), at(now()))]);
    common
}

fn set(pairs: &mut Pairs, name: &str, value: &str) {
    pairs.retain(|(known, _)| known != name);
    pairs.push((name.to_owned(), value.to_owned()));
}

fn query(pairs: &Pairs) -> String {
    let encoded = pairs.iter().map(|(name, value)| format!("{}={}", params::encode(name), params::encode(value)));
    encoded.collect::<Vec<_>>().join("&")
}

fn signed(method: &str, mut pairs: Pairs, secret: &str) -> Pairs {
    pairs.sort();
    let text = format!("{method}&%2F&{}", params::encode(&query(&pairs)));
    let mut mac = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    pairs.push(("Signature".to_owned(), signature));
    pairs
}

async fn post(running: &Running, query: &str) -> Replied {
    running.send(Request::post(format!("/?{query}")).body(Body::empty()).unwrap()).await
}

async fn call_as(running: &Running, key: &str, action: &str, own: &[(&str, &str)]) -> Replied {
    let mut all = common(key, action);
    own.iter().for_each(|(name, value)| set(&mut all, name, value));
    post(running, &query(&signed("POST", all, &secret(key)))).await
}

async fn call(running: &Running, action: &str, own: &[(&str, &str)]) -> Replied {
    call_as(running, "backend", action, own).await
}

fn in_millis(seconds: i64) -> String {
    ((now() + seconds) * 1000).to_string()
}

async fn apply(running: &Running, resources: &str, actions: &str, seconds: i64) -> Replied {
    let end = in_millis(seconds);
    call(running, "ApplyToken", &[("Resources", resources), ("Actions", actions), ("ExpireTime", &end)]).await
}

fn code(reply: &Replied) -> String {
    for field in ["/RequestId", "/HostId", "/Message"] {
        assert!(reply.at(field).is_string(), "{field}: {}", reply.text);
    }
    reply.at("/Code").as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_are_applied_for_queried_and_revoked() {
    let running = Running::start();
    for actions in ["R", "W", "R,W", "RW"] {
        let reply = apply(&running, "acme/b,acme/a/+", actions, 60).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let applied = apply(&running, "acme/a", "R,W", 3600).await;
    assert!(applied.at("/RequestId").as_str().unwrap().len() == 36);
    let token = applied.at("/Token").as_str().unwrap().to_owned();
    let status = async |token: &str| call(&running, "QueryToken", &[("Token", token)]).await.at("/TokenStatus");
    assert_eq!(status(&token).await, json!(true));
    assert_eq!(status("forged").await, json!(false));
    let revoked = call(&running, "RevokeToken", &[("Token", &token)]).await;
    assert_eq!((revoked.status, revoked.json().as_object().unwrap().len()), (200, 1), "{}", revoked.text);
    assert_eq!(status(&token).await, json!(false));
    assert_eq!(code(&call(&running, "RevokeToken", &[("Token", "forged")]).await), "ParameterCheckFailed");
    // A query may be a GET.
    let mut all = common("backend", "QueryToken");
    set(&mut all, "Token", &token);
    let got = Request::get(format!("/?{}", query(&signed("GET", all, &secret("backend"))))).body(Body::empty());
    assert_eq!(running.send(got.unwrap()).await.at("/TokenStatus"), json!(false));
}

#[tokio::test]
async fn where_sub_is_required_the_vendors_call_issues_nothing_and_says_what_does() {
    let token = apply(&Running::start(), "acme/a", "R", 3600).await.at("/Token").as_str().unwrap().to_owned();
    let running = Running::with(|tenant| tenant.sessions.require_sub = true);
    let refused = apply(&running, "acme/a", "R", 3600).await;
    assert_eq!((refused.status, code(&refused).as_str()), (400, "InstancePermissionCheckFailed"));
    let message = refused.at("/Message");
    let message = message.as_str().unwrap();
    assert!(message.contains("requireSub") && message.contains("`clientId`"), "{message}");
    assert_eq!(call(&running, "QueryToken", &[("Token", &token)]).await.at("/TokenStatus"), json!(false));
}

#[tokio::test]
async fn more_than_thirty_days_are_cut_and_less_than_a_minute_is_refused() {
    let running = Running::start();
    assert_eq!(apply(&running, "acme/a", "R", 400 * 86400).await.status, 200);
    assert_eq!(apply(&running, "acme/a", "R", 55).await.status, 200);
    assert_eq!(code(&apply(&running, "acme/a", "R", 45).await), "ParameterCheckFailed");
    for end in ["", "soon", "1e12", "99999999999999999999", "-1"] {
        let reply =
            call(&running, "ApplyToken", &[("Resources", "acme/a"), ("Actions", "R"), ("ExpireTime", end)]).await;
        let expected = if end.is_empty() { "MissingParameter" } else { "ParameterCheckFailed" };
        assert_eq!((reply.status, code(&reply).as_str()), (400, expected), "{end}");
    }
}

#[tokio::test]
async fn resources_that_cannot_be_used_are_named() {
    let running = Running::start();
    let many = (0..101).map(|number| format!("acme/{number}")).collect::<Vec<_>>().join(",");
    for (resources, expected) in [
        ("other/a", "PermissionCheckFailed"),
        ("other/#", "PermissionCheckFailed"),
        ("$SYS/a", "PermissionCheckFailed"),
        ("$share/g/acme/a", "ParameterCheckFailed"),
        ("acme/a,,acme/b", "ParameterCheckFailed"),
        (many.as_str(), "ParameterCheckFailed"),
    ] {
        let reply = apply(&running, resources, "R", 600).await;
        assert_eq!((reply.status, code(&reply).as_str()), (400, expected), "{resources}");
    }
    assert_eq!(code(&apply(&running, "acme/a", "X", 600).await), "ParameterCheckFailed");
}

#[tokio::test]
async fn a_request_is_good_once_and_for_a_quarter_of_an_hour() {
    let running = Running::start();
    let mut all = common("backend", "QueryToken");
    set(&mut all, "Token", "x");
    let sent = query(&signed("POST", all.clone(), &secret("backend")));
    assert_eq!(post(&running, &sent).await.status, 200);
    assert_eq!(code(&post(&running, &sent).await), "SignatureNonceUsed");
    for off in [-901, 901, -1_000_000] {
        set(&mut all, "Timestamp", &at(now() + off));
        set(&mut all, "SignatureNonce", &off.to_string());
        let reply = post(&running, &query(&signed("POST", all.clone(), &secret("backend")))).await;
        assert_eq!((reply.status, code(&reply).as_str()), (400, "InvalidTimeStamp.Expired"));
    }
    set(&mut all, "Timestamp", "yesterday");
    let reply = post(&running, &query(&signed("POST", all, &secret("backend")))).await;
    assert_eq!(code(&reply), "InvalidTimeStamp.Format");
}

#[tokio::test]
async fn unknown_keys_and_wrong_secrets_are_one_refusal() {
    let running = Running::start();
    let mut answers = std::collections::BTreeSet::new();
    for (key, secret_used, instance) in [
        ("backend", "wrong".to_owned(), INSTANCE),
        ("nobody", secret("backend"), INSTANCE),
        ("disabled", secret("disabled"), INSTANCE),
        ("backend", secret("backend"), "mqtt-none"),
        ("backend", String::new(), INSTANCE),
    ] {
        let mut all = common(key, "QueryToken");
        set(&mut all, "InstanceId", instance);
        set(&mut all, "Token", "x");
        let reply = post(&running, &query(&signed("POST", all, &secret_used))).await;
        assert_eq!(code(&reply), "SignatureDoesNotMatch");
        answers.insert((reply.status, reply.at("/Message").to_string()));
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(
        code(&call_as(&running, "plain", "QueryToken", &[("Token", "x")]).await),
        "InstancePermissionCheckFailed"
    );
    let device = [("ClientId", "GID_acme@@@d")];
    let reply = call(&running, "GetDeviceCredential", &device).await;
    assert_eq!(code(&reply), "InstancePermissionCheckFailed");
}

#[tokio::test]
async fn what_is_no_such_request_is_told_apart() {
    let running = Running::start();
    assert_eq!(code(&call(&running, "DeleteEverything", &[]).await), "ApiNotSupport");
    assert_eq!(code(&call(&running, "applytoken", &[]).await), "ApiNotSupport");
    assert_eq!(code(&call(&running, "QueryToken", &[("Version", "2019-01-01")]).await), "InvalidVersion");
    assert_eq!(code(&call(&running, "QueryToken", &[]).await), "MissingParameter");
    assert_eq!(code(&post(&running, "").await), "MissingParameter");
    assert_eq!(code(&post(&running, "Action=QueryToken&Action=RevokeToken").await), "InvalidParameter");
    assert_eq!(code(&post(&running, "Action=%FF").await), "InvalidParameter");
    let send = async |content_type: &str, body: String| {
        let request = Request::post("/").header("content-type", content_type).body(Body::from(body));
        running.send(request.unwrap()).await
    };
    let form = query(&signed("POST", common("backend", "QueryToken"), &secret("backend")));
    assert_eq!(code(&send("application/json", form.clone()).await), "InvalidContentType");
    // Signed rightly, a form is as good as a query: only the token is missing.
    assert_eq!(code(&send("application/x-www-form-urlencoded", form).await), "MissingParameter");
    assert_eq!(send("application/x-www-form-urlencoded", "a".repeat(300 * 1024)).await.status, 413);
    let all = signed("GET", common("backend", "ApplyToken"), &secret("backend"));
    let got = running.send(Request::get(format!("/?{}", query(&all))).body(Body::empty()).unwrap()).await;
    assert_eq!((got.status, code(&got).as_str()), (405, "UnsupportedHTTPMethod"));
}

#[tokio::test]
async fn too_many_questions_overflow_with_a_time_to_wait() {
    let running = Running::start();
    let mut codes = Vec::new();
    for _ in 0..8 {
        let reply = call(&running, "RevokeToken", &[("Token", "x")]).await;
        if code(&reply) == "RevokeTokenOverFlow" {
            assert_eq!(reply.status, 400);
            assert_eq!(reply.headers.get("retry-after").unwrap(), "1");
            assert!(reply.headers.contains_key("x-acs-retry-after"));
        }
        codes.push(code(&reply));
    }
    assert!(codes.iter().any(|code| code == "RevokeTokenOverFlow"), "{codes:?}");
}

#[tokio::test]
async fn devices_are_registered_read_refreshed_listed_and_removed() {
    let running = Running::start();
    let device =
        async |action: &str, client_id: &str| call_as(&running, "registrar", action, &[("ClientId", client_id)]).await;
    let missing = device("GetDeviceCredential", "GID_acme@@@1").await;
    assert_eq!((missing.status, code(&missing).as_str()), (400, "DeviceCredentialNotFound"));
    let made = device("RegisterDeviceCredential", "GID_acme@@@1").await;
    let expected = json!({
        "ClientId": "GID_acme@@@1", "InstanceId": INSTANCE, "DeviceAccessKeyId": "DC.GID_acme@@@1",
        "DeviceAccessKeySecret": "made by registrar", "CreateTime": 1000, "UpdateTime": 1000,
    });
    assert_eq!(made.at("/DeviceCredential"), expected, "{}", made.text);
    assert_eq!(device("RegisterDeviceCredential", "GID_acme@@@1").await.at("/DeviceCredential"), expected);
    let refreshed = device("RefreshDeviceCredential", "GID_acme@@@1").await;
    assert_eq!(refreshed.at("/DeviceCredential/UpdateTime"), json!(2000));
    for foreign in ["GID_other@@@1", "GID_acme@@@a/b", "GID_acme@@@+"] {
        assert_eq!(code(&device("RegisterDeviceCredential", foreign).await), "ParameterCheckFailed", "{foreign}");
    }
    for number in 2..=5 {
        device("RegisterDeviceCredential", &format!("GID_acme@@@{number}")).await;
    }
    device("UnRegisterDeviceCredential", "GID_acme@@@3").await;
    assert_eq!(code(&device("UnRegisterDeviceCredential", "GID_acme@@@3").await), "DeviceCredentialNotFound");
}

#[tokio::test]
async fn whoever_stole_a_key_of_a_suspended_tenant_gets_at_no_device() {
    let running = Running::with(|tenant| tenant.suspended = true);
    let device = [("ClientId", "GID_acme@@@dev1"), ("GroupId", "GID_acme"), ("PageSize", "10")];
    for action in [
        "RegisterDeviceCredential",
        "GetDeviceCredential",
        "RefreshDeviceCredential",
        "UnRegisterDeviceCredential",
        "ListDeviceCredentialClientId",
    ] {
        let reply = call(&running, action, &device).await;
        assert_eq!(code(&reply), "InstancePermissionCheckFailed", "{action}");
    }
    assert!(running.fake.devices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn lists_come_in_pages_by_number_or_by_token() {
    let running = Running::start();
    for number in 1..=5 {
        let client_id = format!("GID_acme@@@{number}");
        call_as(&running, "registrar", "RegisterDeviceCredential", &[("ClientId", &client_id)]).await;
    }
    let list = async |own: &[(&str, &str)]| {
        let mut all = vec![("GroupId", "GID_acme")];
        all.extend_from_slice(own);
        call_as(&running, "registrar", "ListDeviceCredentialClientId", &all).await
    };
    let ids = |reply: &Replied| reply.at("/DeviceCredentialClientIdList/ClientIdList");
    let first = list(&[("PageSize", "2")]).await;
    assert_eq!(ids(&first), json!(["GID_acme@@@1", "GID_acme@@@2"]), "{}", first.text);
    assert_eq!(first.at("/DeviceCredentialClientIdList/Total"), json!("5"));
    assert_eq!(ids(&list(&[("PageSize", "2"), ("PageNo", "3")]).await), json!(["GID_acme@@@5"]));
    assert_eq!(ids(&list(&[("PageSize", "2"), ("PageNo", "4")]).await), json!([]));
    assert_eq!(ids(&list(&[("PageSize", "100"), ("PageNo", &usize::MAX.to_string())]).await), json!([]));
    let next = first.at("/DeviceCredentialClientIdList/NextToken");
    running.fake.devices.lock().unwrap().remove("GID_acme@@@1");
    let second = list(&[("PageSize", "2"), ("NextToken", next.as_str().unwrap())]).await;
    assert_eq!(ids(&second), json!(["GID_acme@@@3", "GID_acme@@@4"]));
    for wrong in [("PageSize", "0"), ("PageSize", "101"), ("PageSize", "x"), ("PageNo", "0"), ("NextToken", "!")] {
        let mut own = vec![("PageSize", "2")];
        own.retain(|(name, _)| *name != wrong.0);
        own.push(wrong);
        assert_eq!(code(&list(&own).await), "ParameterCheckFailed", "{wrong:?}");
    }
    assert_eq!(code(&list(&[]).await), "MissingParameter");
}
