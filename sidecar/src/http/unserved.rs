//! Warns once that a broker asks which is not served.
//!
//! Such a broker's configuration was made for an older version of the sidecar, or by hand. Every question is refused; a line
//! for each of them would bury the one that tells why.

use std::sync::Once;

use crate::dialect::Dialect;

/// Which warnings stand in the log already.
#[derive(Debug)]
pub(crate) struct Unserved {
    emqx_4: Once,
    rmqtt: Once,
}

impl Unserved {
    pub(crate) const fn new() -> Self {
        Self { emqx_4: Once::new(), rmqtt: Once::new() }
    }

    pub(super) fn warn(&self, dialect: Dialect) {
        let once = match dialect {
            Dialect::EmqxV4 => &self.emqx_4,
            Dialect::Rmqtt => &self.rmqtt,
            Dialect::EmqxV5 | Dialect::EmqxV6 | Dialect::RabbitMq | Dialect::RabbitMqV4 => return,
        };
        once.call_once(|| {
            let dialect = dialect.as_str();
            tracing::warn!(
                dialect,
                "this broker is not served and every question of it is refused; see docs/brokers.md"
            );
        });
    }
}
