//! Where the admin listener is, and under which names.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use clap::Args;

/// Where metrics and health are told, and under which names.
#[derive(Args, Clone, Debug, Default)]
pub struct AdminOptions {
    /// Address of metrics and health, or "off". Default: all addresses of the machine, port 9090 for the gateway,
    /// 9091 for the operator and 9092 for the events program.
    #[arg(long = "admin", env = "FERMATA_ADMIN", value_name = "ADDRESS")]
    pub address: Option<AdminAddress>,

    /// Names under which metrics and health are asked for, beside addresses and localhost, separated by commas.
    /// Others are refused: a web page could lead a name of its own here.
    #[arg(
        long = "admin-hosts",
        env = "FERMATA_ADMIN_HOSTS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub hosts: Vec<String>,
}

/// Where the admin listener is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

/// An admin address that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither an address such as 0.0.0.0:9090 nor \"off\"")]
pub struct NotAnAdminAddress(String);

// === impl AdminOptions ===

impl AdminOptions {
    /// At this address, under no further names.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address: Some(AdminAddress::At(address)),
            hosts: Vec::new(),
        }
    }

    /// Nowhere.
    #[must_use]
    pub fn off() -> Self {
        Self {
            address: Some(AdminAddress::Off),
            hosts: Vec::new(),
        }
    }

    /// The address, if there is to be a listener. Where nothing is said it is everywhere, at this port.
    #[must_use]
    pub fn listen(&self, port: u16) -> Option<SocketAddr> {
        match self.address {
            Some(AdminAddress::Off) => None,
            Some(AdminAddress::At(address)) => Some(address),
            None => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        }
    }
}

// === impl AdminAddress ===

impl FromStr for AdminAddress {
    type Err = NotAnAdminAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAdminAddress> {
        match text {
            "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::At)
                .map_err(|_| NotAnAdminAddress(address.to_owned())),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::At(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_everywhere_at_the_programs_port_unless_something_is_said() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 9091));
        assert_eq!(AdminOptions::default().listen(9091), Some(everywhere));
        assert_eq!(AdminOptions::off().listen(9091), None);
        assert_eq!(AdminOptions::at(everywhere).listen(1), Some(everywhere));
        for text in ["off", "127.0.0.1:9091", "[::]:9091"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        let error = "here".parse::<AdminAddress>().unwrap_err();
        assert!(error.to_string().contains("neither an address"), "{error}");
    }
}
