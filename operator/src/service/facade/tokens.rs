//! `ApplyToken`, `QueryToken` and `RevokeToken`.

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::token::MIN_LIFETIME;
use mqtt_access_core::verdict::Reason;
use serde_json::{Value, json};

use super::super::act::act;
use super::super::fresh_id;
use super::super::issue::{self, Issued, Order};
use super::fault::Fault;
use super::{Call, Fields};

/// What may have gone by of the shortest lifetime until a request is here, in seconds.
const ON_THE_WAY: UnixSeconds = 10;

pub(super) fn apply(call: &Call<'_>) -> Result<Fields, Fault> {
    let act = act(call.required("Actions")?).ok_or_else(|| Fault::check("`Actions` is `R`, `W` or `R,W`"))?;
    let resources = call.required("Resources")?.split(',').map(str::to_owned).collect();
    let millis: i64 = number(call.required("ExpireTime")?)?;
    let expires_at = lasting(millis.div_euclid(1000), call.now);
    let order = Order { act, resources, expires_at, client_id: None };
    let id = fresh_id().map_err(|error| Fault::from(super::super::directory::ClusterError::from(error)))?;
    let Issued { token, id, expires_at, cut: _ } = issue::issue(call.issuer, call.held, order, id, call.now)?;
    tracing::info!(tenant = %call.issuer.tenant, access_key = call.held.key.name, id, expires_at, "issued a token");
    Ok(fields([("Token", Value::String(token))]))
}

/// Whoever asks for just the shortest lifetime, by a clock of its own, gets it.
fn lasting(expires_at: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
    let shortest = now.saturating_add(MIN_LIFETIME);
    if expires_at < shortest && expires_at >= shortest - ON_THE_WAY { shortest } else { expires_at }
}

pub(super) fn query(call: &Call<'_>) -> Result<Fields, Fault> {
    let token = call.required("Token")?;
    let examined = issue::examine(&*call.service.directory, call.issuer, call.held.key, token, call.now);
    Ok(fields([("TokenStatus", Value::Bool(examined.is_ok()))]))
}

/// A token that has expired needs no revocation; one that is not the key's own is none.
pub(super) async fn revoke(call: &Call<'_>) -> Result<Fields, Fault> {
    let token = call.required("Token")?;
    match issue::revocable(call.issuer, call.held.key, token, call.now) {
        Ok(token) => call.service.directory.revoke(call.issuer, &token.id, token.expires_at).await?,
        Err(Reason::TokenExpired) => {}
        Err(_) => return Err(Fault::check("`Token` is no token of this access key")),
    }
    Ok(Fields::new())
}

fn number(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| Fault::check("`ExpireTime` is a time in milliseconds since 1970"))
}

pub(super) fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_lifetime_bears_the_way_and_no_more() {
        assert_eq!(lasting(1060, 1000), 1060);
        assert_eq!(lasting(1050, 1000), 1060);
        assert_eq!(lasting(1049, 1000), 1049);
        assert_eq!(lasting(i64::MIN, 1000), i64::MIN);
        assert_eq!(lasting(2000, 1000), 2000);
    }
}
