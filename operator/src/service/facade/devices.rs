//! The five actions about device credentials.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::directory::{DeviceError, DeviceKey};
use super::super::issue::owns;
use super::fault::Fault;
use super::tokens::fields;
use super::{Call, Fields};

const MAX_PAGE: usize = 100;
/// Between a group ID and a device ID in a client ID.
const SEPARATOR: &str = "@@@";

pub(super) async fn register(call: &Call<'_>) -> Result<Fields, Fault> {
    let client_id = client_id(call)?;
    let key = call.service.directory.register(call.issuer, &call.held.key.name, client_id).await?;
    Ok(credential(call, client_id, &key))
}

pub(super) fn get(call: &Call<'_>) -> Result<Fields, Fault> {
    let client_id = client_id(call)?;
    let key = call.service.directory.device(call.issuer, client_id)?;
    Ok(credential(call, client_id, &key))
}

pub(super) async fn refresh(call: &Call<'_>) -> Result<Fields, Fault> {
    let client_id = client_id(call)?;
    let key = call.service.directory.refresh(call.issuer, client_id).await?;
    Ok(credential(call, client_id, &key))
}

pub(super) async fn unregister(call: &Call<'_>) -> Result<Fields, Fault> {
    call.service.directory.unregister(call.issuer, client_id(call)?).await?;
    Ok(Fields::new())
}

/// Pages are cut from what is there now. A token names the last client ID of its page, so that nothing is left out or
/// comes twice when devices come and go meanwhile; a page number cannot promise that.
pub(super) fn list(call: &Call<'_>) -> Result<Fields, Fault> {
    let prefix = format!("{}{SEPARATOR}", call.required("GroupId")?);
    let size = call.required("PageSize")?.parse().ok().filter(|size| (1..=MAX_PAGE).contains(size));
    let size: usize = size.ok_or_else(|| Fault::check("`PageSize` is a number from 1 to 100"))?;
    let page = call.params.get("PageNo").map_or(Some(1), |page| page.parse().ok()).filter(|page| *page >= 1);
    let page: usize = page.ok_or_else(|| Fault::check("`PageNo` is a number from 1 on"))?;
    let all = call.service.directory.client_ids(call.issuer, &prefix);
    let start = match call.params.get("NextToken") {
        Some(token) => {
            let last = after(token).ok_or_else(|| Fault::check("`NextToken` is not one that an answer held"))?;
            all.partition_point(|client_id| *client_id <= last)
        }
        None => (page - 1).saturating_mul(size),
    };
    let shown: Vec<&String> = all.iter().skip(start).take(size).collect();
    let more = start.saturating_add(shown.len()) < all.len();
    let next = shown.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(last)).unwrap_or_default();
    // The vendor's clients declare all of them as strings.
    let list = json!({
        "ClientIdList": shown,
        "Total": all.len().to_string(),
        "PageNo": page.to_string(),
        "PageSize": size.to_string(),
        "NextToken": next,
    });
    Ok(fields([("DeviceCredentialClientIdList", list)]))
}

fn after(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

fn client_id<'a>(call: &'a Call<'_>) -> Result<&'a str, Fault> {
    let client_id = call.required("ClientId")?;
    if owns(call.issuer, client_id) { Ok(client_id) } else { Err(DeviceError::ForeignClientId.into()) }
}

fn credential(call: &Call<'_>, client_id: &str, key: &DeviceKey) -> Fields {
    let DeviceKey { id, secret, created, updated } = key;
    let credential: Value = json!({
        "ClientId": client_id,
        "InstanceId": call.issuer.index.instance_id(),
        "DeviceAccessKeyId": id,
        "DeviceAccessKeySecret": String::from_utf8_lossy(secret.expose()),
        "CreateTime": created,
        "UpdateTime": updated,
    });
    fields([("DeviceCredential", credential)])
}
