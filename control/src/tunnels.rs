//! From `[[ipsec.sa]]` to what the gateway is told: here the file's words meet those who know transforms.

use std::collections::HashMap;

use phalanx_config::{Config, IpNet, IpsecProtocol, StaticSa, TrafficNet, TrafficRule};
use phalanx_dataplane::filter::{Filter, Flow};
use phalanx_dataplane::ipsec::crypto::Numbers;
use phalanx_dataplane::ipsec::gateway::{
    Half, Life, Limits, Network, Passing, Policies, Protection, Rule, SaMode, Selectors, TunnelSpec,
};
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer};
use phalanx_dataplane::ipsec::{KeyLengths, Keys, Transform, UnknownTransform};
use phalanx_dataplane::unit::Unit;

/// The hop limit of tunnelled packets.
const HOP_LIMIT: u8 = 64;

/// What is wrong with a tunnel.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("[[ipsec.sa]] {name:?}: {why}")]
pub struct TunnelError {
    name: String,
    why: Why,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Transform(#[from] UnknownTransform),
    #[error("{0} can be broken today; choose another, such as aes128gcm16")]
    Legacy(Transform),
    #[error("ah takes a check, such as sha256")]
    NoAead,
    #[error(transparent)]
    Keys(#[from] KeyLengths),
    #[error("an SA of {0:?} has the same key: then two packets could have the same IV under it")]
    SharedKey(String),
}

/// All tunnels of a configuration, in its order.
///
/// # Errors
/// The first that makes no sense.
pub(crate) fn tunnels(config: &Config) -> Result<Vec<TunnelSpec>, TunnelError> {
    let spec = |sa: &StaticSa| tunnel(sa).map_err(|why| TunnelError { name: sa.name.clone(), why });
    let tunnels: Vec<TunnelSpec> = config.static_sas.iter().map(spec).collect::<Result<_, _>>()?;
    apart(&tunnels)?;
    Ok(tunnels)
}

/// No key is there twice: IVs are counted by unit, and by nobody but their sender.
fn apart(tunnels: &[TunnelSpec]) -> Result<(), TunnelError> {
    let mut owners: HashMap<&[u8], &str> = HashMap::new();
    for tunnel in tunnels {
        for half in [&tunnel.inbound, &tunnel.outbound] {
            let key = if half.keys.cipher().is_empty() { half.keys.integrity() } else { half.keys.cipher() };
            if let Some(other) = owners.insert(key, &tunnel.name) {
                return Err(TunnelError { name: tunnel.name.clone(), why: Why::SharedKey(other.to_owned()) });
            }
        }
    }
    Ok(())
}

/// What no tunnel is asked about.
pub(crate) fn traffic_rules(config: &Config) -> Vec<(Selectors, Rule)> {
    let rule = |it: &TrafficRule| {
        let selectors = Selectors { local: parts(&it.local_ts), remote: parts(&it.remote_ts) };
        (selectors, if it.discard { Rule::Discard } else { Rule::Bypass })
    };
    config.ipsec_rules.iter().map(rule).collect()
}

/// Networks and which of their traffic, as the gateway has them.
pub(crate) fn parts(list: &[TrafficNet]) -> Vec<Network> {
    let part = |it: &TrafficNet| {
        let limits = Limits { protocol: it.protocol, ports: it.ports };
        Network::new(it.network.addr(), it.network.prefix_len()).only(limits)
    };
    list.iter().map(part).collect()
}

/// The unit of a flow's packets, `forwarding` through the cluster or to it: that of the tunnel that they belong into, or what the
/// filter says.
pub(crate) fn unit_of_flow(config: Option<&Config>, filter: &Filter, flow: &Flow, forwarding: bool) -> Unit {
    let tunnels = config.filter(|_| forwarding).and_then(|config| tunnels(config).ok()).unwrap_or_default();
    let mut policies = Policies::new(tunnels.iter().map(|tunnel| (&tunnel.selectors, tunnel.inbound.spi)));
    let rules = config.filter(|_| forwarding).map(traffic_rules).unwrap_or_default();
    rules.into_iter().for_each(|(selectors, rule)| policies.rule(selectors, rule));
    match policies.judge(&flow.summary()) {
        Passing::Into(spi) => Unit::from_low_bits(spi),
        Passing::Clear | Passing::Bare | Passing::Guarded => filter.unit_of_flow(flow, forwarding),
    }
}

fn tunnel(sa: &StaticSa) -> Result<TunnelSpec, Why> {
    let protection = match sa.protocol {
        IpsecProtocol::Esp => Protection::Esp(sa.transform.parse()?),
        // What checks alone is what checks beside a cipher, without the cipher.
        IpsecProtocol::Ah => match format!("null-{}", sa.transform).parse()? {
            Transform::Pair(_, integrity) => Protection::Ah(integrity),
            Transform::Aead(_) => return Err(Why::NoAead),
        },
    };
    let transform = protection.transform();
    if transform.is_legacy() {
        return Err(Why::Legacy(transform));
    }
    let inbound = Keys::new(transform, sa.encryption_key_in.expose(), sa.integrity_key_in.expose())?;
    let outbound = Keys::new(transform, sa.encryption_key_out.expose(), sa.integrity_key_out.expose())?;
    let networks = |list: &[IpNet]| list.iter().map(|net| Network::new(net.addr(), net.prefix_len())).collect();
    Ok(TunnelSpec {
        name: sa.name.clone(),
        protection,
        mode: SaMode::Tunnel,
        numbers: if sa.esn { Numbers::Extended } else { Numbers::Short },
        replay_window: sa.replay_window,
        outer: Outer {
            source: sa.local,
            destination: sa.remote,
            udp: None,
            dscp: sa.outer.dscp,
            dont_fragment: match sa.outer.dont_fragment {
                phalanx_config::DontFragment::Copy => DontFragment::Copy,
                phalanx_config::DontFragment::Set => DontFragment::Set,
                phalanx_config::DontFragment::Clear => DontFragment::Clear,
            },
            hop_limit: HOP_LIMIT,
        },
        selectors: Selectors { local: networks(&sa.local_ts), remote: networks(&sa.remote_ts) },
        inbound: Half { spi: sa.spi_in, keys: inbound },
        outbound: Half { spi: sa.spi_out, keys: outbound },
        contact: None,
        life: Life { packets: sa.life_packets, bytes: sa.life_bytes },
    })
}

#[cfg(test)]
mod tests {
    use phalanx_dataplane::ipsec::Integrity;

    use super::*;

    fn sa(esp: &str, keys: [&str; 4]) -> StaticSa {
        let [encryption_key_in, integrity_key_in, encryption_key_out, integrity_key_out] =
            keys.map(|key| key.parse().unwrap());
        StaticSa {
            name: "branch".to_owned(),
            local: "198.51.100.1".parse().unwrap(),
            remote: "192.0.2.9".parse().unwrap(),
            local_ts: vec!["10.3.0.0/24".parse().unwrap()],
            remote_ts: vec!["10.9.0.0/24".parse().unwrap()],
            protocol: IpsecProtocol::Esp,
            transform: esp.to_owned(),
            spi_in: 0x1001,
            spi_out: 0x2001,
            encryption_key_in,
            integrity_key_in,
            encryption_key_out,
            integrity_key_out,
            esn: true,
            replay_window: 64,
            life_packets: 0,
            life_bytes: 0,
            outer: phalanx_config::OuterHeader::USUAL,
        }
    }

    #[test]
    fn what_makes_sense_and_what_does_not() {
        let (a, b) = ("11".repeat(20), "22".repeat(20));
        let spec = tunnel(&sa("aes128gcm16", [&a, "", &b, ""])).unwrap();
        assert_eq!((spec.unit().number(), spec.numbers, spec.outbound.spi), (1, Numbers::Extended, 0x2001));
        assert!(!format!("{spec:?}").contains("17"), "no key is shown: {spec:?}");
        let limited = StaticSa { life_packets: 1000, life_bytes: 7, ..sa("aes128gcm16", [&a, "", &b, ""]) };
        assert_eq!((spec.life, tunnel(&limited).unwrap().life), (Life::default(), Life { packets: 1000, bytes: 7 }));
        let c = "33".repeat(32);
        let ah = StaticSa { protocol: IpsecProtocol::Ah, ..sa("sha256", ["", &c, "", &c.replace('3', "4")]) };
        assert_eq!(tunnel(&ah).unwrap().protection, Protection::Ah(Integrity::HmacSha256));
        for (esp, keys, expected) in [
            ("aes", [&*a, "", &b, ""], "aes"),
            ("3des-md5", [&*a, "", &b, ""], "can be broken today"),
            ("aes128gcm16", [&*a, "", &b[2..], ""], "takes 20 bytes of cipher key"),
            ("aes128gcm16", [&*a, &b, &b, ""], "not 20 and 20"),
        ] {
            let why = tunnel(&sa(esp, keys)).unwrap_err().to_string();
            assert!(why.contains(expected), "{esp}: {why}");
        }
        let same = tunnel(&sa("aes128gcm16", [&a, "", &a, ""])).unwrap();
        assert!(apart(std::slice::from_ref(&spec)).is_ok());
        for (pair, other) in
            [(vec![same], "branch"), (vec![spec.clone(), TunnelSpec { name: "b".into(), ..spec }], "branch")]
        {
            let why = apart(&pair).unwrap_err().to_string();
            assert!(why.contains(&format!("an SA of {other:?} has the same key")), "{why}");
        }
    }
}
