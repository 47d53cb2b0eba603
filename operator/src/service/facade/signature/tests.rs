//! Vectors, and what an attacker would change.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mqtt_access_core::secret::Secret;

use super::super::params::Params;
use super::*;

const AT: UnixSeconds = 1_609_434_061;

/// The request of vector C3 in the project's facts, without its signature.
const RPC: &str = "AccessKeyId=testid&Action=ApplyToken&Actions=R%2CW&ExpireTime=1609434121000&Format=JSON\
    &InstanceId=post-cn-0pp12gl0000&Resources=TopicA%2F%2B&SignatureMethod=HMAC-SHA1\
    &SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&SignatureVersion=1.0\
    &Timestamp=2020-12-31T17%3A01%3A01Z&Version=2020-04-20";
const RPC_SIGNATURE: &str = "&Signature=UkNb%2BrTVIjNL5zVk1ey7cUQ2zCk%3D";

/// What the vendor's Python SDK sends for the same call, computed by it.
const ACS3_QUERY: &str = "Actions=R%2CW&ExpireTime=1609434121000&InstanceId=post-cn-0pp12gl0000&Resources=TopicA%2F%2B";
const ACS3: [(&str, &str); 9] = [
    ("host", "127.0.0.1:8443"),
    ("x-acs-version", "2020-04-20"),
    ("x-acs-action", "ApplyToken"),
    ("user-agent", "agent/1"),
    ("x-acs-date", "2020-12-31T17:01:01Z"),
    ("x-acs-signature-nonce", "3ee8c1b883d344afa94f4e0ad82fd6cf"),
    ("accept", "application/json"),
    ("x-acs-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (
        "authorization",
        "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=accept;host;user-agent;x-acs-action;\
         x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,\
         Signature=adb075e9f02738b44272d2488aaf75d79434c280bb086e190cfb487207dc6d75",
    ),
];

struct Sent {
    method: &'static str,
    path: &'static str,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn rpc() -> Self {
        Self {
            method: "POST",
            path: "/",
            query: format!("{RPC}{RPC_SIGNATURE}"),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    fn acs3() -> Self {
        let headers = ACS3.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { method: "POST", path: "/", query: ACS3_QUERY.to_owned(), headers, body: String::new() }
    }

    fn query(mut self, from: &str, to: &str) -> Self {
        assert!(self.query.contains(from), "{from}");
        self.query = self.query.replace(from, to);
        self
    }

    fn header(mut self, name: &str, from: &str, to: &str) -> Self {
        let (_, value) = self.headers.iter_mut().find(|(known, _)| known == name).unwrap();
        assert!(value.contains(from), "{from}");
        *value = value.replace(from, to);
        self
    }

    fn read(&self) -> Result<Signed, SignatureProblem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let query = Params::read(&self.query, b"").ok().unwrap();
        let params = Params::read(&self.query, self.body.as_bytes()).ok().unwrap();
        let (method, path, body) = (self.method, self.path, self.body.as_bytes());
        read(&Unsigned { method, path, headers: &headers, params: &params, query: &query, body })
    }

    fn is_by(&self, secret: &str) -> bool {
        self.read().is_ok_and(|signed| signed.is_by(&Secret::from(secret)))
    }

    fn problem(&self) -> Option<SignatureProblem> {
        self.read().err()
    }
}

#[test]
fn both_vectors_verify_under_their_secret_only() {
    for sent in [Sent::rpc(), Sent::acs3()] {
        let signed = sent.read().ok().unwrap();
        assert_eq!((signed.key_id.as_str(), signed.action.as_str()), ("testid", "ApplyToken"));
        assert_eq!((signed.version.as_str(), signed.timestamp), ("2020-04-20", AT));
        assert!(signed.is_by(&Secret::from("testsecret")));
        assert!(!signed.is_by(&Secret::from("testsecreu")));
        assert!(!signed.is_by(&Secret::from("")));
    }
}

#[test]
fn an_rpc_request_may_come_as_a_form_and_its_order_does_not_matter() {
    let mut sent = Sent::rpc();
    let mut pairs: Vec<&str> = RPC.split('&').collect();
    pairs.reverse();
    sent.body = format!("{}{RPC_SIGNATURE}", pairs.join("&"));
    sent.query = String::new();
    assert!(sent.is_by("testsecret"));
}

#[test]
fn nothing_of_an_rpc_request_can_be_changed() {
    let changes = [
        ("ApplyToken", "QueryToken"),
        ("R%2CW", "R"),
        ("TopicA%2F%2B", "%23"),
        ("1609434121000", "1609434122000"),
        ("0pp12gl0000", "0pp12gl0001"),
        ("17%3A01%3A01Z", "17%3A01%3A02Z"),
        ("3ee8c1b8", "4ee8c1b8"),
        ("Format=JSON", "Format=JSON&Extra=1"),
        ("&Format=JSON", ""),
    ];
    for (from, to) in changes {
        assert!(!Sent::rpc().query(from, to).is_by("testsecret"), "{from} -> {to}");
    }
    assert!(!Sent { method: "GET", ..Sent::rpc() }.is_by("testsecret"));
    let added = Sent { body: "Actions2=W".to_owned(), ..Sent::rpc() };
    assert!(!added.is_by("testsecret"));
}

#[test]
fn an_rpc_request_that_is_not_signed_so_says_what_is_missing() {
    let missing = |name: &'static str| Some(SignatureProblem::Missing(name));
    let invalid = |name: &'static str| Some(SignatureProblem::Invalid(name));
    assert_eq!(Sent::rpc().query(RPC_SIGNATURE, "").problem(), missing("Signature"));
    assert_eq!(Sent::rpc().query(RPC_SIGNATURE, "&Signature=").problem(), missing("Signature"));
    assert_eq!(Sent::rpc().query("AccessKeyId=testid&", "").problem(), missing("AccessKeyId"));
    assert_eq!(Sent::rpc().query("HMAC-SHA1", "HMAC-SHA256").problem(), invalid("SignatureMethod"));
    assert_eq!(
        Sent::rpc().query("SignatureVersion=1.0", "SignatureVersion=2.0").problem(),
        invalid("SignatureVersion")
    );
    for time in ["2020-12-31", "1609434061", "2020-12-31T17%3A01%3A01%2B00%3A00", "2020-12-31T17%3A01%3A01.5Z"] {
        assert_eq!(Sent::rpc().query("2020-12-31T17%3A01%3A01Z", time).problem(), invalid("Timestamp"), "{time}");
    }
    let long = "n".repeat(MAX_NONCE_BYTES + 1);
    let nonce = Sent::rpc().query("3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf", &long);
    assert_eq!(nonce.problem(), invalid("SignatureNonce"));
}

#[test]
fn nothing_that_is_signed_by_acs3_can_be_changed() {
    let headers = [
        ("host", "8443", "8444"),
        ("x-acs-action", "ApplyToken", "RevokeToken"),
        ("x-acs-version", "2020", "2021"),
        ("x-acs-date", "17:01:01", "17:01:02"),
        ("x-acs-signature-nonce", "3ee8", "4ee8"),
        ("user-agent", "agent/1", "agent/2"),
        ("x-acs-content-sha256", "e3b0", "e3b1"),
        ("authorization", "adb0", "bdb0"),
        ("authorization", "6d75", ""),
    ];
    for (name, from, to) in headers {
        assert!(!Sent::acs3().header(name, from, to).is_by("testsecret"), "{name}: {from} -> {to}");
    }
    assert!(!Sent::acs3().query("TopicA%2F%2B", "%23").is_by("testsecret"));
    assert!(!Sent { path: "/other", ..Sent::acs3() }.is_by("testsecret"));
    // The body is covered by its digest, in the header and as it came.
    assert!(!Sent { body: "Actions2=W".to_owned(), ..Sent::acs3() }.is_by("testsecret"));
}

#[test]
fn an_acs3_request_must_sign_what_decides_its_meaning_and_say_it_once() {
    let unsigned = Sent::acs3().header("authorization", "x-acs-action;", "");
    assert_eq!(unsigned.problem(), Some(SignatureProblem::Missing("x-acs-action")));
    let invalid = |name: &'static str| Some(SignatureProblem::Invalid(name));
    let mut twice = Sent::acs3();
    twice.headers.push(("x-acs-action".to_owned(), "RevokeToken".to_owned()));
    assert!(twice.problem().is_some());
    let mut two = Sent::acs3();
    two.headers.push(two.headers.last().cloned().unwrap());
    assert_eq!(two.problem(), invalid("Authorization"));
    let unsorted = Sent::acs3().header("authorization", "accept;host", "host;accept");
    assert_eq!(unsorted.problem(), invalid("Authorization"));
    let other = Sent::acs3().header("authorization", "ACS3-HMAC-SHA256", "ACS3-RSA-SHA256");
    assert_eq!(other.problem(), invalid("Authorization"));
    let also_rpc = Sent::acs3().query("Actions", "Signature=x&Actions");
    assert_eq!(also_rpc.problem(), invalid("Signature"));
    let named_twice = Sent::acs3().query("Actions", "Action=RevokeToken&Actions");
    assert_eq!(named_twice.problem(), invalid("Action"));
}
