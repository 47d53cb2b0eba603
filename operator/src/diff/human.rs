//! Differences for a terminal.

use std::fmt::{self, Display, Formatter};

use super::{ClientsDiff, Diff, Presence, TenantDiff};

/// How many clients are named.
const MAX_NAMED: usize = 5;

impl Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changes for anybody");
        }
        self.tenants.iter().try_for_each(|tenant| write!(f, "{tenant}"))
    }
}

impl Display for TenantDiff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { broker, tenant, change, settings, clients } = self;
        let sign = match change {
            Presence::Added => '+',
            Presence::Removed => '-',
            Presence::Changed => '~',
        };
        writeln!(f, "{sign} MqttTenant {tenant}, broker {broker}")?;
        settings.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        for ClientsDiff { clients, changes } in clients {
            writeln!(f, "  {}:", Named(clients))?;
            changes.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

struct Named<'a>(&'a [String]);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => f.write_str(one),
            all => {
                let named: Vec<&str> = all.iter().take(MAX_NAMED).map(String::as_str).collect();
                let more = if all.len() > MAX_NAMED { ", ..." } else { "" };
                write!(f, "{} clients ({}{more})", all.len(), named.join(", "))
            }
        }
    }
}
