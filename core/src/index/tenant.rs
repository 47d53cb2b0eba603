//! One tenant's bundle, indexed.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::key::{Key, may_connect, usual_mode};
use super::known::{DeviceAudiences, KeyAudiences, Pool};
use super::persona::modes;
use crate::bundle::{AccessKey, AclDelivery, Bundle, ClientIds, Device, Tenant, UnixSeconds};
use crate::claims::Claimant;
use crate::client::{Client, Mode};
use crate::credential::{self, ModeUsername, hmac_sha256};
use crate::password::{HashCost, ImportedHash, Verifier};
use crate::policy::{Action, Policy};
use crate::rules::{InlineAcl, Principal, Rules, Withheld};
use crate::template::TemplateError;
use crate::token::{MAX_LIFETIME, Token};
use crate::topic::Filter;
use crate::verdict::Reason;

const DECOY_DOMAIN: &[u8] = b"mqtt-access/password-decoy/v1\0";

/// A bundle in the form that answers questions, and what belongs to other tenants alone although it claims it too.
#[derive(Debug)]
pub struct TenantIndex {
    compiled: Arc<Compiled>,
    withheld: Withheld,
}

/// What hangs on the bundle alone: it outlives the consent of other tenants.
#[derive(Debug)]
pub struct Compiled {
    pub(super) tenant: Tenant,
    tenant_id: String,
    revision: u64,
    policies: Vec<Policy>,
    pub(super) rules: Rules,
    pub(super) devices: Vec<Entry>,
    pub(super) by_client_id: HashMap<String, usize>,
    by_key_id: HashMap<String, usize>,
    pub(super) by_login: HashMap<String, usize>,
    /// The audiences of access keys' clients, by the keys' names.
    of_keys: HashMap<String, KeyAudiences>,
    /// The devices with slow hashes, which stand in for those of names that do not exist.
    with_slow_hash: Vec<usize>,
    /// The one of these whose hash is the least work.
    cheapest_hash: Option<(HashCost, usize)>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) device: Device,
    pub(super) audiences: DeviceAudiences,
}

impl Deref for TenantIndex {
    type Target = Compiled;

    fn deref(&self) -> &Compiled {
        &self.compiled
    }
}

impl Compiled {
    fn new(bundle: Bundle, revision: u64) -> Result<Self, TemplateError> {
        let Bundle { tenant, policies, devices } = bundle;
        let space = tenant.claims.topic_space.iter().map(|space| space.filter.as_str());
        let rules = Rules::compile(&tenant.namespace, &policies, space)?;
        let mut index = Self {
            tenant_id: format!("{}.{}", tenant.namespace, tenant.name),
            by_client_id: HashMap::with_capacity(devices.len()),
            by_key_id: HashMap::with_capacity(devices.len()),
            by_login: HashMap::new(),
            of_keys: HashMap::new(),
            with_slow_hash: Vec::new(),
            cheapest_hash: None,
            devices: Vec::with_capacity(devices.len()),
            tenant,
            revision,
            policies,
            rules,
        };
        let mut pool = Pool::new();
        for device in devices {
            index.add(device, &mut pool);
        }
        let keys = index.tenant.access_keys.iter();
        let of_keys = keys.map(|key| {
            let client = Client { access_key: Some(&key.name), ..index.client(Mode::Token) };
            (key.name.clone(), KeyAudiences::of(&client, &index.rules, &mut pool))
        });
        index.of_keys = of_keys.collect();
        Ok(index)
    }

    fn add(&mut self, device: Device, pool: &mut Pool) {
        let place = self.devices.len();
        let usual = usual_mode(&device);
        let others = modes(&device).into_iter().filter(|mode| *mode != usual);
        let clients = std::iter::once(usual).chain(others).map(|mode| self.device_client(&device, mode));
        let audiences = DeviceAudiences::of(clients, &self.rules, pool);
        // The compiler writes each client ID and key ID once; should one come twice, the first one keeps it.
        if let Some(client_id) = device.client_id.one() {
            self.by_client_id.entry(client_id.to_owned()).or_insert(place);
        }
        if !device.key_id.is_empty() {
            self.by_key_id.entry(device.key_id.clone()).or_insert(place);
        }
        if let Some(login) = &device.login {
            self.by_login.entry(login.name.clone()).or_insert(place);
            if let Some(Verifier::Slow(hash)) = &login.password {
                self.with_slow_hash.push(place);
                let hash = (hash.cost(), place);
                self.cheapest_hash = self.cheapest_hash.into_iter().chain([hash]).min();
            }
        }
        self.devices.push(Entry { device, audiences });
    }

    fn device_client<'a>(&'a self, device: &'a Device, mode: Mode) -> Client<'a> {
        Client {
            client_id: device.client_id.one().unwrap_or_default(),
            client_id_proven: device.client_id.one().is_some(),
            own_attributes: Some(&device.client_attributes),
            labels: Some(&device.labels),
            superuser: device.superuser && self.tenant.superusers_allowed,
            ..self.client(mode)
        }
    }

    /// What all clients of the tenant have in common.
    fn client(&self, mode: Mode) -> Client<'_> {
        Client {
            client_id: "",
            client_id_proven: false,
            username: None,
            mode,
            tenant_id: &self.tenant_id,
            instance_id: &self.tenant.claims.instance_id,
            tenant_attributes: &self.tenant.client_attributes,
            own_attributes: None,
            labels: None,
            access_key: None,
            superuser: false,
            grants: None,
            withheld: None,
        }
    }
}

impl TenantIndex {
    /// Indexes a bundle. Fails only on a topic that the compiler would have refused.
    pub fn new(bundle: Bundle, revision: u64) -> Result<Self, TemplateError> {
        let compiled = Arc::new(Compiled::new(bundle, revision)?);
        Ok(Self { compiled, withheld: Withheld::default() })
    }

    /// The same bundle, of whose topics some belong to other tenants alone. Costs what is withheld, not the bundle.
    #[must_use]
    pub fn withholding<'f>(&self, filters: impl IntoIterator<Item = &'f str>) -> Self {
        Self { compiled: Arc::clone(&self.compiled), withheld: Withheld::new(filters) }
    }

    /// What is denied to all its clients because it belongs to other tenants alone.
    #[must_use]
    pub fn withheld(&self) -> &Withheld {
        &self.withheld
    }

    /// Whether another one was made from the same bundle, and answers alike.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled) && self.withheld == other.withheld
    }

    /// The tenant's settings.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The revision of the bundle.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many devices the bundle holds.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// When the next credential expires, or the next client ID has rested: until then the same clients are admitted.
    #[must_use]
    pub fn next_expiry(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let devices = self.devices.iter().flat_map(|Entry { device, .. }| [device.expires_at, device.rests_until]);
        let resting = self.tenant.sessions.resting.clients.values().map(|rest| rest.until);
        devices.flatten().chain(resting).filter(|end| *end > now).min()
    }

    /// The policies as the bundle has them, in no order; one may come in several parts.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The compiled policies.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The tenant's instance ID.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.tenant.claims.instance_id
    }

    pub(super) fn claimant(&self) -> Claimant<'_> {
        Claimant {
            created: self.tenant.created,
            namespace: &self.tenant.namespace,
            name: &self.tenant.name,
            published: Some(&self.tenant.claims),
            wanted: None,
        }
    }

    /// Whose claims go first.
    pub(super) fn seniority(&self) -> (UnixSeconds, &str, &str) {
        (self.tenant.created, &self.tenant.namespace, &self.tenant.name)
    }

    /// The slow hash that stands in for that of a login name. Hashes differ in what they cost, so each name has one of its own,
    /// as names that exist do.
    pub(super) fn decoy_hash(&self, login_name: &str) -> Option<&ImportedHash> {
        let place = self.stand_in(login_name, self.with_slow_hash.len())?;
        self.slow_hash(*self.with_slow_hash.get(place)?)
    }

    /// The slow hash that is the least work, with that work.
    pub(super) fn cheapest_hash(&self) -> Option<(HashCost, &ImportedHash)> {
        let (cost, place) = self.cheapest_hash?;
        Some((cost, self.slow_hash(place)?))
    }

    fn slow_hash(&self, place: usize) -> Option<&ImportedHash> {
        match self.devices.get(place)?.device.login.as_ref()?.password.as_ref()? {
            Verifier::Slow(hash) => Some(hash),
            Verifier::Fast(_) | Verifier::Filed { .. } => None,
        }
    }

    /// Makes the list of some device, so that a name that does not exist is refused no sooner than others are accepted.
    pub(super) fn unused_acl(&self, login_name: &str) -> Option<InlineAcl> {
        if self.tenant.acl_delivery != AclDelivery::Inline {
            return None;
        }
        let Entry { device, audiences } = self.devices.get(self.stand_in(login_name, self.devices.len())?)?;
        self.rules.inline(&audiences.principal(self.usual_client(device), &self.rules))
    }

    /// One of so many, always the same for a login name.
    fn stand_in(&self, login_name: &str, of: usize) -> Option<usize> {
        if of == 0 {
            return None;
        }
        let mac = hmac_sha256(self.tenant.ticket_key.expose(), &[DECOY_DOMAIN, login_name.as_bytes()].concat());
        let number = mac.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number.checked_rem(u64::try_from(of).ok()?)?).ok()
    }

    pub(super) fn key(&self, mode: Mode, key_id: &str) -> Option<Key<'_>> {
        let place = match mode {
            Mode::Signature | Mode::Token => {
                return self.tenant.access_keys.iter().find(|key| key.id == key_id).map(Key::Access);
            }
            Mode::DeviceCredential => self.by_key_id.get(key_id),
            Mode::Scram | Mode::Password => self.by_login.get(key_id),
        };
        let entry = self.devices.get(*place?)?;
        Some(Key::Device(&entry.device, &entry.audiences))
    }

    /// Everything but the proof itself: what is judged at a login and again at every request.
    pub(super) fn admit(&self, key: Key<'_>, mode: Mode, client_id: &str, now: UnixSeconds) -> Result<(), Reason> {
        self.admit_mode(mode)?;
        if !self.owns(client_id) {
            return Err(Reason::ClientIdOutsidePrefixes);
        }
        match key {
            Key::Access(key) if key.disabled => return Err(Reason::Disabled),
            Key::Access(key) if !may_connect(key, mode) => return Err(Reason::UseNotAllowed),
            Key::Device(device, _) if !device.client_id.contain(client_id) => return Err(Reason::ClientIdMismatch),
            Key::Device(device, _) => in_force(device, now)?,
            Key::Access(key) if !self.is_within(key, client_id) => return Err(Reason::ClientIdOutsideKeyPrefixes),
            Key::Access(_) => {}
        }
        let is_its_own = matches!(key, Key::Device(device, _) if device.client_id.one().is_some());
        if is_its_own || !self.by_client_id.contains_key(client_id) { Ok(()) } else { Err(Reason::ClientIdTaken) }
    }

    /// Everything but the proof of a login. A session that is open is no session of another owner: none of this is judged anew.
    pub(super) fn admit_login(
        &self,
        key: Key<'_>,
        mode: Mode,
        client_id: &str,
        now: UnixSeconds,
    ) -> Result<(), Reason> {
        self.admit(key, mode, client_id, now)?;
        let resting = self.tenant.sessions.resting.until(self.instance_id(), client_id);
        let own = match key {
            Key::Device(device, _) => device.rests_until,
            Key::Access(_) => None,
        };
        let rests = resting.into_iter().chain(own).any(|until| now < until);
        if rests { Err(Reason::ClientIdResting) } else { Ok(()) }
    }

    /// Whether a client of an access key may have a client ID, should no credential have it.
    #[must_use]
    pub fn opens(&self, key: &AccessKey, client_id: &str) -> bool {
        self.owns(client_id) && self.is_within(key, client_id)
    }

    /// Whether a client ID of the tenant's is among those of an access key.
    fn is_within(&self, key: &AccessKey, client_id: &str) -> bool {
        let begins = |prefixes: &[String]| prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str()));
        let people = &self.tenant.sessions.people_prefixes;
        key.client_id_prefixes.as_deref().is_none_or(begins) && !begins(people)
    }

    /// As [`Self::admit`], for a credential whose clients choose their IDs: before one did.
    pub(super) fn admit_anyone(&self, device: &Device, mode: Mode, now: UnixSeconds) -> Result<(), Reason> {
        self.admit_mode(mode)?;
        let prefixes = &self.tenant.claims.client_id_prefixes;
        let meets = |own: &String, chosen: &str| own.starts_with(chosen) || chosen.starts_with(own.as_str());
        match &device.client_id {
            ClientIds::Prefix { prefix } if prefixes.is_empty() || prefixes.iter().any(|own| meets(own, prefix)) => {
                in_force(device, now)?;
                let rests = device.rests_until.is_some_and(|until| now < until);
                if rests { Err(Reason::ClientIdResting) } else { Ok(()) }
            }
            ClientIds::Prefix { .. } => Err(Reason::ClientIdOutsidePrefixes),
            ClientIds::One(_) => Err(Reason::ClientIdMismatch),
        }
    }

    fn admit_mode(&self, mode: Mode) -> Result<(), Reason> {
        if self.tenant.suspended {
            Err(Reason::Suspended)
        } else if self.tenant.modes.contains(&mode) {
            Ok(())
        } else {
            Err(Reason::ModeNotAccepted)
        }
    }

    /// What may change about tokens after they were issued, and whom they are for.
    pub(super) fn check_tokens(&self, tokens: &[Token], client_id: &str, now: UnixSeconds) -> Result<(), Reason> {
        tokens.iter().try_for_each(|token| {
            // The tenant may have shortened the lifetime of tokens since.
            let longest = self.tenant.token_max_ttl.unwrap_or(MAX_LIFETIME);
            if token.issued_at.saturating_add(longest) <= now {
                return Err(Reason::TokenExpired);
            }
            if self.tenant.token_revocations.revoke(&token.id, token.issued_at) {
                return Err(Reason::TokenRevoked);
            }
            if self.tenant.sessions.require_sub && token.client_id.is_none() {
                return Err(Reason::TokenWithoutClientId);
            }
            let foreign = token.client_id.as_ref().is_some_and(|bound| bound != client_id);
            if foreign { Err(Reason::TokenClientIdMismatch) } else { Ok(()) }
        })
    }

    /// Whether an access key's policies could ever let a token be used for anything within a filter. An upper bound: a
    /// Deny that takes away all but a part of it is not followed.
    #[must_use]
    pub fn could_use(
        &self,
        access_key: &AccessKey,
        client_id: Option<&str>,
        action: Action,
        filter: Filter<'_>,
    ) -> bool {
        let username =
            ModeUsername { mode: Mode::Token, key_id: &access_key.id, instance_id: self.instance_id() }.to_string();
        let client = Client {
            client_id: client_id.unwrap_or_default(),
            client_id_proven: client_id.is_some(),
            username: Some(&username),
            ..self.key_client(access_key, Mode::Token)
        };
        self.rules.could_grant(&self.rules.principal(client), action, filter)
    }

    fn owns(&self, client_id: &str) -> bool {
        let prefixes = &self.tenant.claims.client_id_prefixes;
        credential::is_client_id(client_id)
            && (prefixes.is_empty() || prefixes.iter().any(|prefix| client_id.starts_with(prefix.as_str())))
    }

    /// The client that a device usually is: its audiences are found once.
    pub(super) fn usual_client<'a>(&'a self, device: &'a Device) -> Client<'a> {
        self.device_client(device, usual_mode(device))
    }

    pub(super) fn device_client<'a>(&'a self, device: &'a Device, mode: Mode) -> Client<'a> {
        Client { withheld: Some(&self.withheld), ..self.compiled.device_client(device, mode) }
    }

    /// A client with the audiences that were found when the bundle was indexed.
    pub(super) fn principal<'a>(&'a self, key: Key<'a>, client: Client<'a>) -> Principal<'a> {
        match key {
            Key::Device(_, audiences) => audiences.principal(client, &self.rules),
            Key::Access(key) => match self.of_keys.get(&key.name) {
                Some(audiences) => audiences.principal(client, &self.rules),
                None => self.rules.principal(client),
            },
        }
    }

    pub(super) fn key_client<'a>(&'a self, key: &'a AccessKey, mode: Mode) -> Client<'a> {
        Client { access_key: Some(&key.name), withheld: Some(&self.withheld), ..self.compiled.client(mode) }
    }
}

fn in_force(device: &Device, now: UnixSeconds) -> Result<(), Reason> {
    if device.disabled {
        Err(Reason::Disabled)
    } else if device.expires_at.is_some_and(|end| end <= now) {
        Err(Reason::Expired)
    } else {
        Ok(())
    }
}
