//! What the daemon says of its SAs: `swanctl --list-sas --pretty`, where each SA is an event of nested sections, lists,
//! and values that go to the end of their line. (`--raw` would be ambiguous: names may have spaces in them.)

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::lab::{Outcome, failure};

/// An IKE SA.
#[derive(Clone, PartialEq, Debug)]
pub struct IkeSa {
    /// Its connection.
    pub name: String,
    /// ESTABLISHED, CONNECTING, REKEYING, DELETING, ...
    pub state: String,
    /// We began.
    pub initiator: bool,
    /// The initiator's SPI and the responder's.
    pub spis: [u64; 2],
    /// Where we are.
    pub local: SocketAddr,
    /// Where the peer is.
    pub remote: SocketAddr,
    /// What the peer is called, once it has said so.
    pub remote_id: String,
    /// The addresses that the peer has given us.
    pub local_vips: Vec<IpAddr>,
    /// The addresses that we have given the peer.
    pub remote_vips: Vec<IpAddr>,
    /// Its IPsec SAs, those that are on their way out, too.
    pub children: Vec<ChildSa>,
    /// All that was said, in swanctl's words: `encr-alg`, `dh-group`, `nat-remote`, ...
    pub said: Value,
}

/// An IPsec SA.
#[derive(Clone, PartialEq, Debug)]
pub struct ChildSa {
    /// The child's name.
    pub name: String,
    /// INSTALLED, REKEYING, REKEYED, DELETED, ...
    pub state: String,
    /// TUNNEL or TRANSPORT.
    pub mode: String,
    /// ESP goes inside UDP.
    pub encapsulated: bool,
    /// What the peer sends by.
    pub spi_in: u32,
    /// What we send by.
    pub spi_out: u32,
    /// What came.
    pub received: Count,
    /// What went.
    pub sent: Count,
    /// Our side.
    pub local_ts: Vec<String>,
    /// The other.
    pub remote_ts: Vec<String>,
    /// All that was said.
    pub said: Value,
}

/// Of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, before ESP.
    pub bytes: u64,
}

impl IkeSa {
    /// It can be used, and is not about to go.
    pub fn is_up(&self) -> bool {
        self.state == "ESTABLISHED"
    }

    /// Its only child that is up.
    pub fn child(&self) -> Outcome<&ChildSa> {
        let mut up = self.children.iter().filter(|child| child.is_up());
        match (up.next(), up.next()) {
            (Some(child), None) => Ok(child),
            _ => Err(failure(format!("{} has not one child: {:?}", self.name, self.children))),
        }
    }

    fn of(name: &str, said: &Value) -> Option<Self> {
        let spi = |key: &str| u64::from_str_radix(text(said, key)?, 16).ok();
        let children = said["child-sas"].as_object().into_iter().flatten();
        Some(Self {
            name: name.to_owned(),
            state: text(said, "state")?.to_owned(),
            initiator: text(said, "initiator") == Some("yes"),
            spis: [spi("initiator-spi")?, spi("responder-spi")?],
            local: SocketAddr::new(number(said, "local-host")?, number(said, "local-port")?),
            remote: SocketAddr::new(number(said, "remote-host")?, number(said, "remote-port")?),
            remote_id: text(said, "remote-id").unwrap_or("").to_owned(),
            local_vips: list(said, "local-vips")?,
            remote_vips: list(said, "remote-vips")?,
            children: children.map(|(_, said)| ChildSa::of(said)).collect::<Option<_>>()?,
            said: said.clone(),
        })
    }
}

impl ChildSa {
    /// It can be used, and is not about to go.
    pub fn is_up(&self) -> bool {
        self.state == "INSTALLED"
    }

    fn of(said: &Value) -> Option<Self> {
        let spi = |key: &str| u32::from_str_radix(text(said, key)?, 16).ok();
        let count =
            |packets: &str, bytes: &str| Some(Count { packets: number(said, packets)?, bytes: number(said, bytes)? });
        Some(Self {
            name: text(said, "name")?.to_owned(),
            state: text(said, "state")?.to_owned(),
            mode: text(said, "mode")?.to_owned(),
            encapsulated: text(said, "encap") == Some("yes"),
            spi_in: spi("spi-in")?,
            spi_out: spi("spi-out")?,
            received: count("packets-in", "bytes-in")?,
            sent: count("packets-out", "bytes-out")?,
            local_ts: list(said, "local-ts")?,
            remote_ts: list(said, "remote-ts")?,
            said: said.clone(),
        })
    }
}

fn text<'a>(said: &'a Value, key: &str) -> Option<&'a str> {
    said[key].as_str()
}

fn number<T: std::str::FromStr>(said: &Value, key: &str) -> Option<T> {
    text(said, key)?.parse().ok()
}

/// One that is not there is empty.
fn list<T: std::str::FromStr>(said: &Value, key: &str) -> Option<Vec<T>> {
    said[key].as_array().into_iter().flatten().map(|value| value.as_str()?.parse().ok()).collect()
}

/// All IKE SAs of the answer.
pub(super) fn parse(said: &str) -> Outcome<Vec<IkeSa>> {
    let mut lines = said.lines().map(str::trim);
    let mut sas = Vec::new();
    while let Some(line) = lines.next() {
        match line.strip_suffix('{').map(str::trim) {
            Some("list-sa event") => {
                let event = section(&mut lines)?;
                for (name, said) in &event {
                    let sa = IkeSa::of(name, said);
                    sas.push(sa.ok_or_else(|| failure(format!("the SA of {name} lacks something")))?);
                }
            }
            Some(_) => drop(section(&mut lines)?),
            None => {}
        }
    }
    Ok(sas)
}

/// Up to the closing brace.
fn section(lines: &mut dyn Iterator<Item = &str>) -> Outcome<Map<String, Value>> {
    let mut found = Map::new();
    while let Some(line) = lines.next() {
        if line == "}" {
            return Ok(found);
        }
        if let Some(name) = line.strip_suffix(" {") {
            let inner = section(lines)?;
            found.insert(name.to_owned(), Value::Object(inner));
        } else if let Some(name) = line.strip_suffix(" = [") {
            let values = std::iter::from_fn(|| lines.next().filter(|line| *line != "]")).map(Value::from).collect();
            found.insert(name.to_owned(), Value::Array(values));
        } else if let Some((name, value)) = line.split_once(" = ") {
            found.insert(name.to_owned(), Value::from(value));
        }
    }
    Err(failure("it breaks off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened.
    const SAID: &str = "list-sa event {
  branch {
    uniqueid = 1
    state = ESTABLISHED
    local-host = 10.2.0.100
    local-port = 4500
    remote-host = 10.2.0.164
    remote-port = 4500
    remote-id = C=CH, O=a lab, CN=gateway
    initiator = yes
    initiator-spi = a3a9747bf88cd5fc
    responder-spi = 361bd8a2259a30db
    local-vips = [
      10.60.9.1
    ]
    child-sas {
      net-1 {
        name = net
        state = INSTALLED
        mode = TUNNEL
        encap = yes
        spi-in = bc26a32c
        spi-out = cd2959d3
        bytes-in = 252
        packets-in = 3
        bytes-out = 336
        packets-out = 4
        local-ts = [
          10.60.9.1/32
        ]
        remote-ts = [
          10.60.2.0/24
          10.60.3.0/24
        ]
      }
      net-2 {
        name = net
        state = DELETED
        mode = TUNNEL
        spi-in = 00000001
        spi-out = 00000002
        bytes-in = 0
        packets-in = 0
        bytes-out = 0
        packets-out = 0
      }
    }
  }
}
list-sas reply {
}
";

    #[test]
    fn an_sa_is_read() {
        let [sa] = parse(SAID).unwrap().try_into().unwrap();
        assert!(sa.is_up() && sa.initiator);
        assert_eq!(sa.spis, [0xa3a9_747b_f88c_d5fc, 0x361b_d8a2_259a_30db]);
        assert_eq!(sa.remote, "10.2.0.164:4500".parse().unwrap());
        assert_eq!(sa.remote_id, "C=CH, O=a lab, CN=gateway");
        assert_eq!((sa.local_vips, sa.remote_vips), (vec![IpAddr::from([10, 60, 9, 1])], vec![]));
        let [up, going] = sa.children.try_into().unwrap();
        assert!(up.is_up() && up.encapsulated && !going.is_up());
        assert_eq!((up.spi_in, up.spi_out), (0xbc26_a32c, 0xcd29_59d3));
        assert_eq!((up.received, up.sent), (Count { packets: 3, bytes: 252 }, Count { packets: 4, bytes: 336 }));
        assert_eq!(up.remote_ts, ["10.60.2.0/24", "10.60.3.0/24"]);
    }

    #[test]
    fn an_answer_that_breaks_off_or_lacks_something_is_no_answer() {
        let cut = SAID.find("list-sas").unwrap() - 3;
        assert!(parse(&SAID[..cut]).is_err());
        for line in ["state = ESTABLISHED", "initiator-spi = a3a9747bf88cd5fc", "spi-out = cd2959d3", "packets-in = 3"]
        {
            assert!(parse(&SAID.replacen(line, "", 1)).is_err(), "{line}");
        }
        assert_eq!(parse("list-sas reply {\n}\n").unwrap(), []);
    }
}
