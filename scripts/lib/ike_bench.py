"""Runs phalanx bench ike-handshakes and strongSwan's charon in turns and compares them. Called by scripts/bench, which explains it.

Two charons, each in a network namespace, shake hands over a pair of virtual cables; what counts is the CPU time of the one that
answers (user and system, as the kernel accounts it to its threads). In it is what phalanx bench does not have: the kernel's part
of receiving and sending, and charon's threads handing work to each other. Both keep the tunnels that they make.
"""

import argparse
import datetime
import glob
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench_common import Failed, finish, run, save, spread

#: What is measured, as phalanx bench calls it: IKE proposal, how initiator and responder prove their names.
WAYS = {
    "psk-x25519": ("aes256gcm16-prfsha384-x25519", "psk", "psk"),
    "ecdsa-x25519": ("aes256gcm16-prfsha384-x25519", "pubkey", "pubkey"),
    "eap-mschapv2-x25519": ("aes256gcm16-prfsha384-x25519", "eap-mschapv2", "pubkey"),
    "psk-modp2048": ("aes256gcm16-prfsha384-modp2048", "psk", "psk"),
}
ESP = "aes256gcm16"
GATEWAY, CLIENT = "gw.bench", "client.bench"
ADDRESS = {"initiator": "10.77.0.1", "responder": "10.77.0.2"}
#: Handshakes before anything counts.
WARM_UP = 20
START_S, ANSWER_S = 10, 10
PLUGINS = ("random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints aes sha1 sha2 md5 gcm ctr hmac kdf gmp curve25519 "
           "socket-default vici eap-identity eap-mschapv2 kernel-libipsec kernel-netlink")
FOLDERS = ("x509", "x509ca", "x509ocsp", "x509aa", "x509ac", "x509crl", "pubkey", "private", "rsa", "ecdsa", "bliss", "pkcs8",
           "pkcs12")


class Authority:
    """Certificates with ECDSA on P-256, as phalanx bench makes for itself."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = self.sign(self.name, self.key.public_key(), [
            (x509.BasicConstraints(True, None), True), (usage, True)])

    def sign(self, name, key, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name):
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        certificate = self.sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), [
            (x509.SubjectAlternativeName([x509.DNSName(name)]), False), (usage, True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)])
        return certificate, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption())


class Charon:
    """One daemon, in a namespace of its own."""

    def __init__(self, side, folder, namespace):
        self.side, self.folder, self.namespace = side, os.path.join(folder, side), namespace
        for name in FOLDERS:
            os.makedirs(os.path.join(self.folder, name))
        self.socket = f"unix://{self.folder}/vici"
        self.write("strongswan.conf", f"""
charon-systemd {{
  load = {PLUGINS}
  reuse_ikesa = no
  journal {{
    default = -1
  }}
  plugins {{
    vici {{
      socket = {self.socket}
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
}}
swanctl {{
  load = pem pkcs1 pkcs8 x509 pubkey openssl
}}
""")
        self.environment = {**os.environ, "STRONGSWAN_CONF": os.path.join(self.folder, "strongswan.conf"),
                            "SWANCTL_DIR": self.folder}
        self.process = None

    def write(self, name, content):
        with open(os.path.join(self.folder, name), "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)

    def start(self, settings):
        self.write("swanctl.conf", settings)
        argv = ["ip", "netns", "exec", self.namespace, "charon-systemd"]
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while not os.path.exists(os.path.join(self.folder, "vici")):
            if self.process.poll() is not None or time.monotonic() > until:
                with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
                    raise Failed(f"charon did not start: {log.read()[-800:]}")
            time.sleep(0.02)
        self.swanctl("--load-all", "--noprompt")

    def swanctl(self, *words):
        return run(["swanctl", *words, "--uri", self.socket], f"swanctl {' '.join(words)}", env=self.environment)

    def cpu_s(self):
        """CPU time of all its threads so far, in seconds."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        coarse = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        fine = 0
        for task in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with open(task, encoding="utf-8") as file:
                fine += int(file.read().split()[0])
        # The kernel need not have been built to count nanoseconds.
        return fine / 1e9 if fine > 0 else coarse

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def host(number):
    """A peer's address inside."""
    return f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def connection(name, number, way, initiator):
    """One connection in swanctl's words."""
    ike, peers_auth, own_auth = WAYS[way]
    peer = {"psk": "peer@bench", "pubkey": CLIENT, "eap-mschapv2": "alice"}[peers_auth]
    peer_lines = f"auth = {peers_auth}\n"
    if initiator:
        peer_lines += f"id = {peer}\n" + (f"eap_id = {peer}\n" if peers_auth == "eap-mschapv2" else "")
        peer_lines += "certs = own.pem\n" if peers_auth == "pubkey" else ""
    else:
        peer_lines += "id = %any\n" + ("eap_id = %any\n" if peers_auth == "eap-mschapv2" else "")
        peer_lines += "cacerts = ca.pem\n" if peers_auth == "pubkey" else ""
    own_lines = f"auth = {own_auth}\nid = {GATEWAY}\n"
    if own_auth == "pubkey":
        own_lines += "cacerts = ca.pem\n" if initiator else "certs = own.pem\n"
    here, there = ADDRESS["responder"], ADDRESS["initiator"]
    if initiator:
        here, there = there, here
    local, remote = ("10.3.0.0/24", "10.128.0.0/9")
    if initiator:
        local, remote = f"{host(number)}/32", local
    local_lines, remote_lines = (peer_lines, own_lines) if initiator else (own_lines, peer_lines)
    return f"""{name} {{
version = 2
local_addrs = {here}
remote_addrs = {there}
proposals = {ike}
mobike = no
unique = never
local {{
{local_lines}}}
remote {{
{remote_lines}}}
children {{
{name} {{
local_ts = {local}
remote_ts = {remote}
esp_proposals = {ESP}
}}
}}
}}
"""


SECRETS = 'secrets {\nike-all {\nsecret = "a shared key for benchmarks"\n}\neap-alice {\nid = alice\n' \
          'secret = "a password for benchmarks"\n}\n}\n'


class Stage:
    """Two namespaces and the cable between them."""

    def __init__(self, count):
        self.count = count
        self.names = {side: f"ike-bench-{os.getpid()}-{side[0]}" for side in ADDRESS}

    def __enter__(self):
        try:
            for side, name in self.names.items():
                run(["ip", "netns", "add", name], "a namespace")
                run(["ip", "-n", name, "link", "set", "lo", "up"], "a namespace")
            one, other = self.names["initiator"], self.names["responder"]
            run(["ip", "link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable", "netns", other], "a cable")
            for side, name in self.names.items():
                run(["ip", "-n", name, "addr", "add", f"{ADDRESS[side]}/24", "dev", "cable"], "an address")
                run(["ip", "-n", name, "link", "set", "cable", "up"], "a cable")
            # kernel-libipsec makes no tunnel for traffic in which it has no address.
            addresses = "".join(f"addr add {host(number)}/32 dev lo\n" for number in range(1, WARM_UP + self.count + 1))
            run(["ip", "-n", one, "-batch", "-"], "peers' addresses", input=addresses)
            run(["ip", "-n", other, "addr", "add", "10.3.0.1/24", "dev", "lo"], "an address inside")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def charon_ms(self, way, authority):
        """CPU milliseconds of the responder for one handshake."""
        with tempfile.TemporaryDirectory(prefix="ike-bench-") as folder:
            sides = {side: Charon(side, folder, name) for side, name in self.names.items()}
            for side, who in (("responder", GATEWAY), ("initiator", CLIENT)):
                certificate, key = authority.issue(who)
                for name, content in (("x509/own.pem", certificate), ("private/own.pem", key),
                                      ("x509ca/ca.pem", authority.certificate)):
                    sides[side].write(name, content)
            try:
                total = WARM_UP + self.count
                sides["responder"].start("connections {\n" + connection("gw", 0, way, False) + "}\n" + SECRETS)
                sides["initiator"].start("connections {\n" + "".join(
                    connection(f"c{number}", number, way, True) for number in range(1, total + 1)) + "}\n" + SECRETS)
                before = 0
                for number in range(1, total + 1):
                    if number == WARM_UP + 1:
                        before = sides["responder"].cpu_s()
                    sides["initiator"].swanctl("--initiate", "--child", f"c{number}", "--timeout", str(ANSWER_S))
                spent = sides["responder"].cpu_s() - before
                said = sides["responder"].swanctl("--list-sas")
                up = [said.count(state) for state in ("ESTABLISHED", "INSTALLED")]
                if up != [total, total]:
                    raise Failed(f"charon has {up} IKE and child SAs after {total} handshakes")
                return spent * 1e3 / self.count
            finally:
                for charon in sides.values():
                    charon.stop()


def phalanx_ms(phalanx, way, count):
    """The same of ours."""
    said = run([phalanx, "bench", "ike-handshakes", way, "--count", str(count), "--json"], "phalanx bench ike-handshakes")
    return json.loads(said)["cpu_ms_mean"]


def main():
    parser = argparse.ArgumentParser()
    for name in ("phalanx", "json"):
        parser.add_argument(f"--{name}")
    for name in ("rounds", "count"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    authority, ours, theirs = Authority(), {way: [] for way in WAYS}, {way: [] for way in WAYS}
    with Stage(options.count) as stage:
        for number in range(1, options.rounds + 1):
            for way in WAYS:
                ours[way].append(phalanx_ms(options.phalanx, way, options.count))
                theirs[way].append(stage.charon_ms(way, authority))
                print(f"{way}, round {number}: phalanx {ours[way][-1]:.2f}, charon {theirs[way][-1]:.2f} ms", file=sys.stderr)
    print(f"{'handshake':<22}{'phalanx, CPU ms':<18}{'charon, CPU ms':<18}phalanx/charon (min/med/max)")
    results = []
    for way in WAYS:
        ratios = [one / other for one, other in zip(ours[way], theirs[way])]
        print(f"{way:<22}{spread(ours[way]):<18}{spread(theirs[way]):<18}{spread(ratios)}")
        results.append({"bench": "ike-handshakes", "work": way, "handshakes": options.count, "rounds": options.rounds,
                        "cpu_ms": statistics.median(ours[way]), "ratio": statistics.median(ratios),
                        "peer": {"name": "charon", "cpu_ms": statistics.median(theirs[way])}})
    said = run([options.phalanx, "bench", "ike-memory", "--json"], "phalanx bench ike-memory")
    memory = json.loads(said)
    print(f"{memory['tunnels']} tunnels, bytes each: owner {memory['owner_bytes']:.0f}, backup {memory['backup_bytes']:.0f}; "
          f"resident for both {memory['resident_bytes']:.0f}")
    results.append(memory)
    save(results, options.json)


if __name__ == "__main__":
    finish(main)
