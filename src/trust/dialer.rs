//! The one dialer: no other code of the program opens a connection. Default deny: where it may
//! go, the verified register or the configuration says, and whom it meets there, TLS proves.

use super::collector::Collector;
use super::register::RegisterHandle;
use super::tls::{ClientStream, ReloadableTls, negotiated_group};
use super::witnesses::{WitnessAddress, WitnessStream};
use perron_model::limits::{CONNECT_ADDRESSES_MAX, CONNECT_MS_MAX};
use perron_model::participant::Status;
use perron_model::{Error, ErrorCode, ParticipantId, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What a connection is for; it stands in the process's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Catalogue, negotiation, agreements.
    Control,
    /// Reads.
    Data,
    /// The authority's register, renewals.
    Register,
    /// Checkpoints of logs.
    Witness,
    /// Entries of our own log, to the collector that the configuration names.
    Syslog,
}

impl Purpose {
    /// As it stands in the process's log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Control => "control",
            Purpose::Data => "data",
            Purpose::Register => "register",
            Purpose::Witness => "witness",
            Purpose::Syslog => "syslog",
        }
    }
}

/// `host:port` of a connector: a DNS name or an address (IPv6 in brackets), and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Parses `host:port`.
    pub fn parse(text: &str) -> Result<Endpoint> {
        let wrong = || {
            Error::malformed(format!(
                "`{}` is not an endpoint like `connector.huy.be:8443`",
                text.chars().take(80).collect::<String>()
            ))
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let number: u16 = port.parse().map_err(|_| wrong())?;
        if number == 0 || number.to_string() != port {
            return Err(wrong());
        }
        let sound = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.parse::<std::net::Ipv4Addr>().is_ok() || is_dns_name(host),
        };
        if sound { Ok(Endpoint { host: host.to_owned(), port: number }) } else { Err(wrong()) }
    }

    /// Up to `CONNECT_ADDRESSES_MAX` addresses of it.
    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        Ok(tokio::net::lookup_host((bare, self.port)).await?.take(CONNECT_ADDRESSES_MAX).collect())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn is_dns_name(host: &str) -> bool {
    // A name of digits and dots alone is a mistyped address, never a name.
    rustls::pki_types::DnsName::try_from(host).is_ok() && host.bytes().any(|b| b.is_ascii_alphabetic())
}

/// A channel that was opened, to the participant that was asked for.
#[derive(Debug)]
pub struct Dialled {
    /// The channel.
    pub stream: ClientStream<TcpStream>,
    /// The address at its other end.
    pub address: SocketAddr,
}

/// Opens channels to participants: only where the register or the configuration says.
pub struct Dialer {
    tls: Arc<ReloadableTls>,
    register: Arc<RegisterHandle>,
    overrides: BTreeMap<ParticipantId, Endpoint>,
    collector: Option<Collector>,
    witnesses: Vec<WitnessAddress>,
}

impl Dialer {
    /// A dialer with this identity, to the endpoints of `register`; where the configuration
    /// names an endpoint for a participant, that one counts.
    pub fn new(
        tls: Arc<ReloadableTls>,
        register: Arc<RegisterHandle>,
        overrides: BTreeMap<ParticipantId, Endpoint>,
    ) -> Dialer {
        Dialer { tls, register, overrides, collector: None, witnesses: Vec::new() }
    }

    /// The same, with the collector of syslog messages that the configuration names.
    #[must_use]
    pub fn with_collector(self, collector: Option<Collector>) -> Dialer {
        Dialer { collector, ..self }
    }

    /// The same, with the witnesses over HTTPS that the configuration names.
    #[must_use]
    pub fn with_witnesses(self, witnesses: Vec<WitnessAddress>) -> Dialer {
        Dialer { witnesses, ..self }
    }

    /// The witnesses over HTTPS that the configuration names, in its order.
    pub fn witnesses(&self) -> &[WitnessAddress] {
        &self.witnesses
    }

    /// Where `to` may be dialled; `destination_denied` if nothing allows it. A participant that
    /// is suspended or revoked isn't dialled, whatever the configuration says.
    pub fn destination(&self, to: &ParticipantId) -> Result<Endpoint> {
        let denied = |why: &str| Error::new(ErrorCode::DestinationDenied, format!("`{to}` {why}"));
        let register = self.register.load();
        let entry = register.participant(to);
        if entry.is_some_and(|p| p.status != Status::Active) {
            return Err(denied("is not in force"));
        }
        if let Some(endpoint) = self.overrides.get(to) {
            return Ok(endpoint.clone());
        }
        let entry = entry.ok_or_else(|| denied("is neither in the register nor in the configuration"))?;
        let endpoint = entry.endpoint.as_deref().ok_or_else(|| denied("can't be dialled: it only dials"))?;
        Endpoint::parse(endpoint).map_err(|_| denied("has an endpoint that can't be read"))
    }

    /// Opens a channel to `to`, and verifies that it is `to` who answers.
    pub async fn dial(&self, to: &ParticipantId, purpose: Purpose) -> Result<Dialled> {
        let endpoint = self.destination(to)?;
        let (tcp, address) = reach(&endpoint, to.as_str()).await?;
        let stream = self.tls.connect(tcp, to).await?;
        let group = negotiated_group(stream.get_ref().1);
        tracing::debug!(peer = %to, purpose = purpose.as_str(), %address, group, "dialled");
        Ok(Dialled { stream, address })
    }

    /// Opens a channel to the collector of syslog messages; `destination_denied` where the
    /// configuration names none.
    pub async fn dial_collector(&self) -> Result<Dialled> {
        let none =
            || Error::new(ErrorCode::DestinationDenied, "the configuration names no collector of syslog messages");
        let collector = self.collector.as_ref().ok_or_else(none)?;
        let (tcp, address) = reach(collector.endpoint(), "syslog").await?;
        let stream = collector.connect(tcp).await?;
        tracing::debug!(purpose = Purpose::Syslog.as_str(), %address, "dialled");
        Ok(Dialled { stream, address })
    }

    /// Opens a channel to the witness of this place in the configuration; `destination_denied`
    /// where it names none.
    pub async fn dial_witness(&self, place: usize) -> Result<WitnessStream> {
        let none = || Error::new(ErrorCode::DestinationDenied, "the configuration names no such witness");
        let witness = self.witnesses.get(place).ok_or_else(none)?;
        let (tcp, address) = reach(witness.endpoint(), witness.verifier().name()).await?;
        let stream = witness.connect(tcp).await?;
        tracing::debug!(purpose = Purpose::Witness.as_str(), %address, "dialled");
        Ok(stream)
    }
}

/// A connection to the endpoint, in time; errors name who was to be reached, and no address.
async fn reach(endpoint: &Endpoint, who: &str) -> Result<(TcpStream, SocketAddr)> {
    let limit = Duration::from_millis(CONNECT_MS_MAX);
    let unavailable = |why: &str| Error::new(ErrorCode::PeerUnavailable, format!("`{who}` can't be reached: {why}"));
    let (tcp, address) = match tokio::time::timeout(limit, connect(endpoint)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(e)) => return Err(unavailable(&e.kind().to_string())),
        Err(_) => return Err(unavailable("no answer in time")),
    };
    tcp.set_nodelay(true).map_err(|e| unavailable(&e.kind().to_string()))?;
    Ok((tcp, address))
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls)
            .field("overrides", &self.overrides)
            .field("collector", &self.collector)
            .field("witnesses", &self.witnesses)
            .finish_non_exhaustive()
    }
}

/// Tries the endpoint's addresses one after the other.
async fn connect(endpoint: &Endpoint) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in endpoint.addresses().await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::{World, at, id};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn dialer(world: &World, overrides: &[(&str, &str)]) -> Dialer {
        let overrides = overrides.iter().map(|(to, e)| (id(to), Endpoint::parse(e).unwrap())).collect();
        let tls = Arc::new(ReloadableTls::new(world.identity("seraing")));
        Dialer::new(tls, Arc::new(RegisterHandle::new(world.verified())), overrides)
    }

    fn set_endpoint(world: &mut World, name: &str, endpoint: &str) {
        let key = crate::trust::keys::SigningKey::from_seed(&world.authority_key().seed());
        world.signed = world.register.set_endpoint(&id(name), Some(endpoint.to_owned()), at(1), &key).unwrap();
    }

    /// A listener of that identity that says one byte to each who shakes hands.
    async fn listen(world: &World, name: &str) -> SocketAddr {
        let tls = ReloadableTls::new(world.identity(name));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok((mut stream, peer)) = tls.accept(tcp).await {
                    let _ = stream.write_all(peer.as_str().as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        address
    }

    #[test]
    fn endpoints_are_host_and_port() {
        for good in ["connector.huy.be:8443", "127.0.0.1:1", "[::1]:65535", "localhost:443"] {
            assert_eq!(Endpoint::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "huy",
            "huy:",
            ":1",
            "huy:0",
            "huy:01",
            "huy:+1",
            "huy:65536",
            "::1:80",
            "[huy]:1",
            "https://huy:1",
            "huy:1/x",
            "a b:1",
            "999.1.1.1:1",
            "1.2.3:80",
            "user@huy:1",
            "huy.:1:1",
        ] {
            assert_eq!(Endpoint::parse(bad).unwrap_err().code, ErrorCode::Malformed, "{bad}");
        }
    }

    #[tokio::test]
    async fn what_nothing_names_is_denied() {
        let mut world = World::new(&["huy", "seraing", "amay"]);
        let denied = |d: &Dialer, to: &str| d.destination(&id(to)).unwrap_err().code;
        let none = dialer(&world, &[]);
        assert_eq!(denied(&none, "huy"), ErrorCode::DestinationDenied);
        assert_eq!(denied(&none, "nobody"), ErrorCode::DestinationDenied);
        let error = none.dial(&id("nobody"), Purpose::Data).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DestinationDenied);
        assert_eq!(none.dial_collector().await.unwrap_err().code, ErrorCode::DestinationDenied);
        assert_eq!(none.dial_witness(0).await.err().unwrap().code, ErrorCode::DestinationDenied);
        set_endpoint(&mut world, "huy", "huy.example:8443");
        let some = dialer(&world, &[("liege", "127.0.0.1:9")]);
        assert_eq!(some.destination(&id("huy")).unwrap().to_string(), "huy.example:8443");
        assert_eq!(some.destination(&id("liege")).unwrap().to_string(), "127.0.0.1:9");
        assert_eq!(denied(&some, "amay"), ErrorCode::DestinationDenied);
        let moved = dialer(&world, &[("huy", "127.0.0.1:10")]);
        assert_eq!(moved.destination(&id("huy")).unwrap().to_string(), "127.0.0.1:10");
    }

    #[tokio::test]
    async fn who_is_revoked_is_not_dialled_from_then_on() {
        let mut world = World::new(&["huy", "seraing"]);
        let key = crate::trust::keys::SigningKey::from_seed(&world.authority_key().seed());
        let dialer = dialer(&world, &[("huy", "127.0.0.1:9")]);
        dialer.destination(&id("huy")).unwrap();
        let revoked = world.register.set_status(&id("huy"), Status::Revoked, at(1), &key).unwrap();
        dialer.register.update(&revoked).unwrap();
        assert_eq!(dialer.destination(&id("huy")).unwrap_err().code, ErrorCode::DestinationDenied);
    }

    #[tokio::test]
    async fn a_channel_over_loopback() {
        use tokio::io::AsyncReadExt;
        let mut world = World::new(&["huy", "seraing"]);
        let address = listen(&world, "huy").await;
        set_endpoint(&mut world, "huy", &address.to_string());
        let mut dialled = dialer(&world, &[]).dial(&id("huy"), Purpose::Data).await.unwrap();
        assert_eq!(dialled.address, address);
        let (tcp, tls) = dialled.stream.get_ref();
        assert!(tcp.nodelay().unwrap());
        assert_eq!(negotiated_group(tls), "X25519MLKEM768");
        let mut said = String::new();
        dialled.stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "seraing");
    }

    #[tokio::test]
    async fn another_behind_the_endpoint_is_refused() {
        let world = World::new(&["huy", "seraing"]);
        let address = listen(&world, "seraing").await.to_string();
        let error = dialer(&world, &[("huy", &address)]).dial(&id("huy"), Purpose::Data).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
    }

    #[tokio::test]
    async fn nobody_behind_the_endpoint_is_unavailable() {
        let world = World::new(&["huy", "seraing"]);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let error = dialer(&world, &[("huy", &free)]).dial(&id("huy"), Purpose::Data).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PeerUnavailable);
        // The detail says to whom, and no address.
        assert!(error.detail.contains("huy") && !error.detail.contains("127.0"));
    }
}
