//! `check`: a throwaway tenant with one device, and what a sidecar says of it.
//!
//! It proves the whole path, from a resource that somebody applies to the answer that a broker hears: the right password lets
//! in, what a policy allows is allowed, and a foreign topic and a wrong password are refused. What it made is deleted again,
//! whatever came of it.

mod objects;
mod sidecar;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use thiserror::Error;

use crate::credential::{NoRandomness, random};
use objects::{Login, Objects, ObjectsError};
use sidecar::{Answer, Sidecar, SidecarError};

/// How long what was made may take to be gone.
const CLEANUP: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Check {
    /// Where the objects are made; that of the client's context when absent.
    pub(crate) namespace: Option<String>,
    /// Their name; a random one when absent.
    pub(crate) name: Option<String>,
    /// Whose tenant it is.
    pub(crate) broker: String,
    /// Where a sidecar of that broker answers.
    pub(crate) sidecar: SocketAddr,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
}

/// What a question was, and its answer as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// A login with the password of the device's Secret.
    RightPassword,
    /// A publish to a topic that the policy allows.
    OwnTopic,
    /// A publish to one that no policy allows.
    ForeignTopic,
    /// A login with another password.
    WrongPassword,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RightPassword => "a login with the password of its Secret",
            Self::OwnTopic => "a publish to its own topic",
            Self::ForeignTopic => "a publish to a foreign topic",
            Self::WrongPassword => "a login with a wrong password",
        })
    }
}

/// Why a check did not pass.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    /// There is no cluster to talk to.
    #[error("no cluster is configured; set KUBECONFIG, or run in a pod with a service account")]
    Client(#[source] kube::Error),
    /// No name could be made.
    #[error("no random name; give one with `--name`")]
    Random(#[from] NoRandomness),
    /// The objects could not be made, or are not as they should be.
    #[error("the throwaway objects")]
    Objects(#[from] ObjectsError),
    /// There is no answer.
    #[error("the sidecar gave no answer; see that one runs at `--sidecar`")]
    Sidecar(#[from] SidecarError),
    /// Somebody is let in, or allowed something, who must not be.
    #[error("{0} was allowed, which must never be; take the broker off the network and look at the sidecar's log")]
    Allowed(Question),
    /// Time is up.
    #[error("not done within `--timeout`; at its end: {0}")]
    Timeout(String),
    /// A signal.
    #[error("stopped by a signal")]
    Stopped,
    /// Some of the objects are left.
    #[error("what was made could not be deleted; delete it by hand")]
    Cleanup(#[source] ObjectsError),
}

/// Runs the check and tells each step as it is done. `stop` resolves at a signal.
pub(crate) async fn run(check: Check, stop: impl Future<Output = ()>, told: impl Fn(&str)) -> Result<(), CheckError> {
    let Check { namespace, name, broker, sidecar, timeout } = check;
    let client = Client::try_default().await.map_err(CheckError::Client)?;
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let name = match name {
        Some(name) => name,
        None => random_name()?,
    };
    let objects = Objects::new(&client, &namespace, &name, &broker);
    let mut waiting = "nothing was begun".to_owned();
    let outcome = {
        let steps = steps(&objects, Sidecar(sidecar), &told, &mut waiting);
        tokio::select! {
            outcome = steps => Some(outcome),
            () = tokio::time::sleep(timeout) => None,
            () = stop => Some(Err(CheckError::Stopped)),
        }
    };
    let outcome = outcome.unwrap_or_else(|| Err(CheckError::Timeout(waiting)));
    // An object of that name that somebody else made stays.
    if !matches!(outcome, Err(CheckError::Objects(ObjectsError::Foreign(..)))) {
        objects.delete(CLEANUP).await.map_err(CheckError::Cleanup)?;
        told("what was made is deleted");
    }
    outcome
}

fn random_name() -> Result<String, NoRandomness> {
    Ok(format!("check-{:016x}", first(&random()?)))
}

/// 64 bits of a random number or a digest.
fn first(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

async fn steps(
    objects: &Objects,
    sidecar: Sidecar,
    told: &impl Fn(&str),
    waiting: &mut String,
) -> Result<(), CheckError> {
    objects.create(waiting).await?;
    told(&format!("{objects} is made"));
    let login = objects.ready(waiting).await?;
    told("the operator says that it is in force");
    let attributes = allowed(Question::RightPassword, waiting, async || sidecar.login(&login).await).await?;
    told("a login with the password of its Secret is allowed");
    let publish = async |topic: &str| sidecar.publish(&login, &attributes, topic).await;
    allowed(Question::OwnTopic, waiting, async || publish(&objects.own_topic()).await).await?;
    told("a publish to its own topic is allowed");
    denied(Question::ForeignTopic, &publish(&objects.foreign_topic()).await?)?;
    told("a publish to a foreign topic is denied");
    let wrong = Login { password: format!("{}x", login.password.as_str()).into(), ..login.clone() };
    denied(Question::WrongPassword, &sidecar.login(&wrong).await?)?;
    told("a login with a wrong password is denied");
    Ok(())
}

/// Asks until it is allowed: a bundle is on its way for a moment, and a sidecar beside this process may only be starting.
async fn allowed(
    question: Question,
    waiting: &mut String,
    ask: impl AsyncFn() -> Result<Answer, SidecarError>,
) -> Result<Answer, CheckError> {
    loop {
        match ask().await {
            Ok(answer) if answer.is_allow() => return Ok(answer),
            Ok(_) => *waiting = format!("{question} is denied"),
            Err(error) => *waiting = format!("{question}: {}", crate::error_chain(&error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Anything but an explicit denial is a failure: what a broker makes of it is its own business.
fn denied(question: Question, answer: &Answer) -> Result<(), CheckError> {
    if answer.is_allow() {
        return Err(CheckError::Allowed(question));
    }
    if answer.is_deny() { Ok(()) } else { Err(SidecarError::NoVerdict.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_denial_passes_for_one() {
        let answer = |result: &str| Answer::parse(format!("{{\"result\":\"{result}\"}}").as_bytes()).unwrap();
        denied(Question::ForeignTopic, &answer("deny")).unwrap();
        let allowed = denied(Question::ForeignTopic, &answer("allow")).unwrap_err();
        assert!(matches!(allowed, CheckError::Allowed(Question::ForeignTopic)), "{allowed}");
        for other in ["ignore", "", "DENY"] {
            let none = denied(Question::WrongPassword, &answer(other)).unwrap_err();
            assert!(matches!(none, CheckError::Sidecar(SidecarError::NoVerdict)), "{other}: {none}");
        }
    }
}
