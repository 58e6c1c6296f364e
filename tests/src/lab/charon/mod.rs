//! strongSwan's daemon, charon, as a foreign IKEv2 peer: in a network namespace, where it does ESP itself and always
//! inside UDP, or in a guest, whose kernel does ESP. Both are driven alike, with `swanctl`, in the host where the daemon
//! runs.
//!
//! ```text
//!  HOST/charon/strongswan.conf    what the daemon and swanctl load: a guest feels every plugin
//!              asking.conf        what swanctl loads when it has no certificates to read
//!              load-N/            the N-th set of connections, with certificates and keys: swanctl.conf, x509/, ...
//!              vici               where the daemon takes commands (in a guest /run/charon.vici: no socket crosses kernels)
//!              log, out, pid      what it says, and who it is
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `connection` | a connection, and how swanctl.conf says it |
//! | `authority` | certificates for the peers of a test |
//! | `sas` | what the daemon says of its SAs |
//! | `check` | a connection used from its beginning to its end |

mod authority;
mod check;
mod connection;
mod sas;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

pub use authority::{Authority, Keys, Leaf};
pub use check::connect_and_check;
pub use connection::{Auth, Child, Connection, Mode, Party};
pub use sas::{ChildSa, Count, IkeSa};

use super::{Failure, Lab, Outcome, clock, failure, guest};

/// Plugins beside those for the kernel.
const PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints aes sha1 sha2 md5 gcm ccm ctr chapoly \
     cmac xcbc hmac kdf gmp curve25519 socket-default vici counters eap-identity eap-mschapv2";
/// What swanctl needs to read certificates and keys.
const READING: &str = "pem pkcs1 pkcs8 x509 pubkey openssl";
/// And for all else: it must be one, no list at all would mean every plugin there is.
const ASKING: &str = "pem";
/// A guest reads all libraries through its host, while other guests and members start.
const BEGINNING: Duration = Duration::from_secs(30);
/// How long a peer may take to answer what it is asked, in seconds.
const PATIENCE: &str = "15";
/// After a rekeying both sides need a moment to take the old SA down.
const CHANGE: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 40;

/// What a rekeying is for: the name of a connection or of one of its children.
#[derive(Clone, Copy, Debug)]
pub enum Rekey<'a> {
    /// The IKE SA.
    Ike(&'a str),
    /// An IPsec SA.
    Child(&'a str),
}

/// A running daemon; it ends with this value.
pub struct Charon {
    host: String,
    /// Its files, as this process and as the daemon sees them.
    dir: PathBuf,
    inside: String,
    socket: String,
    loads: usize,
    /// Ends it, politely: it tells its peers.
    end: Command,
}

impl Charon {
    /// In a host that is a namespace.
    pub fn in_namespace(lab: &Lab, host: &str) -> Outcome<Self> {
        Self::in_namespace_with(lab, host, "")
    }

    /// In a host that is a namespace, with a line more in its settings.
    pub fn in_namespace_with(lab: &Lab, host: &str, more: &str) -> Outcome<Self> {
        let dir = lab.dir().join(host).join("charon");
        let inside = dir.display().to_string();
        let socket = format!("{inside}/vici");
        Self::start(lab, host, dir, inside, socket, ("kernel-libipsec kernel-netlink", more))
    }

    /// In a host with its own kernel.
    pub fn in_guest(lab: &Lab, host: &str) -> Outcome<Self> {
        guest::load_ipsec(lab, host)?;
        let dir = lab.dir().join(host).join("charon");
        Self::start(lab, host, dir, "/run/lab/charon".into(), "/run/charon.vici".into(), ("kernel-netlink", ""))
    }

    fn start(
        lab: &Lab,
        host: &str,
        dir: PathBuf,
        inside: String,
        socket: String,
        kernel: (&str, &str),
    ) -> Outcome<Self> {
        std::fs::create_dir_all(&dir).map_err(failure)?;
        std::fs::write(dir.join("strongswan.conf"), settings(kernel, &inside, &socket)).map_err(failure)?;
        std::fs::write(dir.join("asking.conf"), swanctl_settings(ASKING)).map_err(failure)?;
        // By itself, not as a command that goes on: for those a guest must look for input and output all the time.
        let line = format!(
            "cd {inside}; rm -f {socket}
             STRONGSWAN_CONF={inside}/strongswan.conf setsid charon-systemd </dev/null >out 2>&1 & p=$!
             echo $p >pid; until [ -S {socket} ]; do kill -0 $p || exit 1; sleep 0.05; done"
        );
        let end = lab.command_in(host, &["sh", "-c", &format!("kill -INT $(cat {inside}/pid)")]);
        let charon = Self { host: host.to_owned(), dir, inside, socket, loads: 0, end };
        let limit = BEGINNING.as_secs().to_string();
        let started = lab.call(&["exec", "--timeout", &limit, host, "--", "sh", "-c", &line]);
        started.map_err(|problem| charon.explained(lab, &problem))?;
        Ok(charon)
    }

    /// The host that it runs in.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// It comes before everything that is not urgent: what is measured through it is then not this machine's other work.
    pub fn hurry(&self, lab: &Lab, priority: u8) -> Outcome<()> {
        let line = format!("chrt --all-tasks --fifo --pid {priority} $(cat {}/pid)", self.inside);
        lab.run(&self.host, &["sh", "-c", &line]).map(drop)
    }

    /// What a shell in its host is to run to ask it something.
    pub fn command_line(&self, words: &[&str]) -> String {
        let inside = &self.inside;
        format!("STRONGSWAN_CONF={inside}/asking.conf swanctl {} --uri unix://{}", words.join(" "), self.socket)
    }

    /// From now on these are its connections, and what it trusts and knows is what they say; SAs that are up stay up.
    pub fn load(&mut self, lab: &Lab, connections: &[&Connection]) -> Outcome<()> {
        self.loads += 1;
        // A guest may remember what a file was like: each load has files of its own.
        let name = format!("load-{}", self.loads);
        connection::write(&self.dir.join(&name), connections)?;
        let folder = format!("SWANCTL_DIR={}/{name}", self.inside);
        let settings = if connections.iter().any(|one| one.has_certificates()) { "strongswan" } else { "asking" };
        self.swanctl(lab, settings, &[&folder], &["--load-all", "--clear", "--noprompt"]).map(drop)
    }

    /// Sets up a child, and its IKE SA if there is none.
    pub fn initiate(&self, lab: &Lab, child: &str) -> Outcome<()> {
        self.ask(lab, &["--initiate", "--child", child, "--timeout", PATIENCE]).map(drop)
    }

    /// Rekeys, and waits until the new SA has replaced the old one; the IKE SA as it is then.
    pub fn rekey(&self, lab: &Lab, what: Rekey<'_>) -> Outcome<IkeSa> {
        let (option, name) = match what {
            Rekey::Ike(name) => ("--ike", name),
            Rekey::Child(name) => ("--child", name),
        };
        let before = self.spis(lab, what)?;
        self.ask(lab, &["--rekey", option, name])?;
        let replaced = clock::until(CHANGE, Duration::from_millis(50), || {
            let now = self.spis(lab, what)?;
            match now.1 == before.1 || now.1.iter().any(|spi| before.1.contains(spi)) {
                true => Err(failure(format!("{what:?} still has the SPIs {:x?}", now.1))),
                false => Ok(now.0),
            }
        });
        replaced.map(|(sa, _)| sa).map_err(|problem| self.explained(lab, &problem))
    }

    /// The SPIs of what is up, and the IKE SA that it belongs to.
    fn spis(&self, lab: &Lab, what: Rekey<'_>) -> Outcome<(IkeSa, Vec<u64>)> {
        for sa in self.sas(lab)? {
            let spis: Vec<u64> = match what {
                Rekey::Ike(name) if sa.name == name && sa.is_up() => sa.spis.to_vec(),
                Rekey::Ike(_) => Vec::new(),
                Rekey::Child(name) => {
                    let up = sa.children.iter().filter(|child| child.name == name && child.is_up());
                    up.flat_map(|child| [child.spi_in, child.spi_out].map(u64::from)).collect()
                }
            };
            if !spis.is_empty() {
                return Ok((sa, spis));
            }
        }
        Err(failure(format!("{}: there is no {what:?}", self.host)))
    }

    /// Takes a connection down, and waits for the peer's answer.
    pub fn terminate(&self, lab: &Lab, connection: &str) -> Outcome<()> {
        self.ask(lab, &["--terminate", "--ike", connection, "--timeout", PATIENCE]).map(drop)
    }

    /// All IKE SAs, in whatever state.
    pub fn sas(&self, lab: &Lab) -> Outcome<Vec<IkeSa>> {
        let said = self.ask(lab, &["--list-sas", "--pretty"])?;
        sas::parse(&said).map_err(|problem| failure(format!("{}: {problem}:\n{said}", self.host)))
    }

    /// The one IKE SA that is up, with children that are.
    pub fn sa(&self, lab: &Lab) -> Outcome<IkeSa> {
        let mut up = self.sas(lab)?;
        up.retain(IkeSa::is_up);
        for sa in &mut up {
            sa.children.retain(ChildSa::is_up);
        }
        match <[IkeSa; 1]>::try_from(up) {
            Ok([sa]) => Ok(sa),
            Err(all) => Err(failure(format!("{} has {} SAs: {all:?}", self.host, all.len()))),
        }
    }

    /// How often each kind of message and event was seen: `ike-rekey-init`, `child-rekey`, `ike-auth-in-resp`, ...
    pub fn counters(&self, lab: &Lab) -> Outcome<BTreeMap<String, u64>> {
        let said = self.ask(lab, &["--counters", "--pretty"])?;
        let each = said.lines().filter_map(|line| line.trim().split_once(" = "));
        Ok(each.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect())
    }

    /// Ends it in an instant: its peers are told nothing.
    pub fn kill(self, lab: &Lab) -> Outcome<()> {
        lab.run(&self.host, &["sh", "-c", &format!("cd {}; kill -KILL $(cat pid) && rm pid", self.inside)]).map(drop)
    }

    /// All that it has said.
    pub fn log(&self, lab: &Lab) -> String {
        // What a guest writes lies in its memory until then.
        let line = format!("cd {}; sync out log; cat out log", self.inside);
        let said = lab.exec(&self.host, &["sh", "-c", &line]).map(|done| done.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn ask(&self, lab: &Lab, words: &[&str]) -> Outcome<String> {
        self.swanctl(lab, "asking", &[], words)
    }

    fn swanctl(&self, lab: &Lab, settings: &str, variables: &[&str], words: &[&str]) -> Outcome<String> {
        let settings = format!("STRONGSWAN_CONF={}/{settings}.conf", self.inside);
        let uri = format!("unix://{}", self.socket);
        let argv = [&["env", &settings][..], variables, &["swanctl"], words, &["--uri", &uri]].concat();
        let done = lab.exec(&self.host, &argv)?;
        if !done.status.success() {
            let problem = failure(format!("swanctl {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr)));
            return Err(self.explained(lab, &problem));
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// A problem, with what the daemon said last.
    fn explained(&self, lab: &Lab, problem: &Failure) -> Failure {
        let log = self.log(lab);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        failure(format!("{}: {problem}\n  {}", self.host, tail.join("\n  ")))
    }
}

impl Drop for Charon {
    fn drop(&mut self) {
        // It may be dead already, or its lab down.
        let _ = self.end.stdin(Stdio::null()).output();
    }
}

/// Retransmissions come early, as suits tests that kill whoever should answer; the rest is as Debian has it.
fn settings((kernel, more): (&str, &str), dir: &str, socket: &str) -> String {
    format!(
        "charon-systemd {{
  load = {PLUGINS} {kernel}
  retransmit_timeout = 0.5
  retransmit_base = 1.5
  retransmit_tries = 8
  {more}
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
  filelog {{
    log {{
      path = {dir}/log
      flush_line = yes
      time_format = %H:%M:%S
      default = 1
      cfg = 2
    }}
  }}
}}
{swanctl}",
        swanctl = swanctl_settings(READING)
    )
}

fn swanctl_settings(plugins: &str) -> String {
    format!("swanctl {{\n  load = {plugins}\n}}\n")
}
