//! A Secret manifest, read as strictly as the API server does, and without ever quoting what is in it (pure).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused::Fault;
use super::shape::join;

/// The most that a Secret may hold.
const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    immutable: Option<bool>,
}

/// The Secret, with `stringData` merged into `data`. The caller has checked it against [`schema`].
pub(super) fn secret(value: Value) -> Result<Secret, Vec<Fault>> {
    // The cause would quote values.
    let unreadable = |_| vec![Fault::new("", "does not decode as a Secret: compare it with `kubectl explain secret`")];
    let manifest: Manifest = serde_json::from_value(value).map_err(unreadable)?;
    let Manifest { metadata, data, string_data, type_, immutable } = manifest;
    let mut bytes = BTreeMap::new();
    let mut faults = Vec::new();
    for (key, encoded) in data {
        match STANDARD.decode(encoded) {
            Ok(decoded) => drop(bytes.insert(key, ByteString(decoded))),
            Err(_) => faults.push(Fault::new(join("data", &key), "is not base64: encode it, or move it to stringData")),
        }
    }
    bytes.extend(string_data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    if bytes.values().map(|value| value.0.len()).sum::<usize>() > MAX_BYTES {
        faults.push(Fault::new("data", format!("is larger than {MAX_BYTES} bytes: Kubernetes refuses such Secrets")));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Secret { metadata, data: Some(bytes), immutable, string_data: None, type_ })
}

/// A Secret but for its metadata.
pub(super) fn schema() -> Value {
    let key = json!({ "pattern": "^[-._a-zA-Z0-9]+$", "maxLength": 253 });
    let texts = json!({ "type": "object", "propertyNames": key, "additionalProperties": { "type": "string" } });
    json!({
        "type": "object",
        "properties": {
            "data": texts,
            "stringData": texts,
            "type": { "type": "string" },
            "immutable": { "type": "boolean" },
        },
    })
}
