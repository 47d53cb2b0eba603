//! The password of the token mode: `type|token` pairs, joined by `|`.

use super::Act;
use crate::verdict::Reason;

/// One token with the type that the client declares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenPair<'a> {
    /// What the client says it is for.
    pub act: Act,
    /// The token.
    pub token: &'a str,
}

impl std::fmt::Debug for TokenPair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPair").field("act", &self.act).finish_non_exhaustive()
    }
}

/// Reads a password: one to three pairs, in any order, each type at most once.
pub fn pairs(password: &[u8]) -> Result<Vec<TokenPair<'_>>, Reason> {
    let text = std::str::from_utf8(password).map_err(|_| Reason::TokenMalformed)?;
    let mut parts = text.split('|');
    let mut pairs: Vec<TokenPair<'_>> = Vec::new();
    while let Some(act) = parts.next() {
        let act = Act::parse(act).ok_or(Reason::TokenMalformed)?;
        let token = parts.next().filter(|token| !token.is_empty()).ok_or(Reason::TokenMalformed)?;
        if pairs.iter().any(|pair| pair.act == act) {
            return Err(Reason::TokenMalformed);
        }
        pairs.push(TokenPair { act, token });
    }
    Ok(pairs)
}
