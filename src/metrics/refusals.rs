//! Why the control side refuses: a reason for each counter.

/// Why a connection was not upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeRefusal {
    /// It is no WebSocket handshake, or a bad one.
    Handshake,
    /// Its PROXY header is malformed, or comes from somebody who isn't in `TRUSTED_PROXIES`.
    ProxyHeader,
    /// `ALLOWED_ORIGINS`.
    Origin,
    /// A token that doesn't hold.
    Token,
    /// The gateway is on its way out.
    Draining,
    /// `MAX_CONNECTIONS`.
    Full,
    /// `MAX_CONNECTIONS_PER_IP`.
    ConnectionsPerIp,
    /// `CONNECTION_RATE_LIMIT`.
    ConnectionRate,
    /// `MAX_CONNECTIONS_PER_USER`.
    ConnectionsPerUser,
}

impl UpgradeRefusal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Handshake,
        Self::ProxyHeader,
        Self::Origin,
        Self::Token,
        Self::Draining,
        Self::Full,
        Self::ConnectionsPerIp,
        Self::ConnectionRate,
        Self::ConnectionsPerUser,
    ];

    /// As metrics have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::ProxyHeader => "proxy_header",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::ConnectionRate => "connection_rate",
            Self::ConnectionsPerUser => "connections_per_user",
        }
    }
}

/// Why an HTTP request that asks for no connection was refused: a question for last events, or an operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefusal {
    /// It is not what such a request has to be.
    Request,
    /// `ALLOWED_ORIGINS`.
    Origin,
    /// A token that doesn't hold, or none where one is asked for.
    Token,
    /// The client's rights don't cover what it asks for.
    Rights,
    /// The gateway is on its way out.
    Draining,
    /// `MAX_CONNECTIONS`.
    Full,
    /// `MAX_CONNECTIONS_PER_IP`.
    ConnectionsPerIp,
    /// `CONNECTION_RATE_LIMIT`.
    ConnectionRate,
    /// As many questions wait as may.
    Questions,
    /// `OPS_TOKEN` is not shown, or an order needs one and it is not set.
    Operator,
}

impl RequestRefusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Request,
        Self::Origin,
        Self::Token,
        Self::Rights,
        Self::Draining,
        Self::Full,
        Self::ConnectionsPerIp,
        Self::ConnectionRate,
        Self::Questions,
        Self::Operator,
    ];

    /// As metrics have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Rights => "rights",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::ConnectionRate => "connection_rate",
            Self::Questions => "questions",
            Self::Operator => "operator",
        }
    }
}

impl From<UpgradeRefusal> for RequestRefusal {
    /// What holds for every client that connects holds for these as well.
    fn from(why: UpgradeRefusal) -> Self {
        match why {
            UpgradeRefusal::Origin => Self::Origin,
            UpgradeRefusal::Token => Self::Token,
            UpgradeRefusal::Draining => Self::Draining,
            UpgradeRefusal::Full => Self::Full,
            UpgradeRefusal::ConnectionsPerIp => Self::ConnectionsPerIp,
            UpgradeRefusal::ConnectionRate => Self::ConnectionRate,
            UpgradeRefusal::Handshake | UpgradeRefusal::ProxyHeader | UpgradeRefusal::ConnectionsPerUser => {
                Self::Request
            }
        }
    }
}
