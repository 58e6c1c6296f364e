"""A VPN client: strongSwan, somewhere outside, connects to the cluster by IKEv2, is given an address, and downloads from inside.

It has a kernel of its own (user-mode Linux), which does ESP. Where there is none, it is a network namespace, and strongSwan does ESP
itself, in UDP.
"""

import os
import re
import shutil
import subprocess
import sys

from lab import cli, product, uml
from lab.state import LabError
from lab.topology import CLUSTER_HOST, SIDES

from .fetch import CURL, Fetch

HOST = "road"
KEY = "what both sides of the demo know"
#: Addresses for clients.
POOLS = {4: "10.99.0.0/24", 6: "fd00:99::/64"}
#: What the guest's kernel would else look for when the first SA comes.
MODULES = ("xfrm_user esp4 esp6 authenc gcm ghash_generic ctr cbc hmac sha256_generic sha512_generic echainiv seqiv drbg "
           "jitterentropy_rng")
PLUGINS = "random nonce openssl aes sha1 sha2 gcm ctr hmac kdf gmp curve25519 socket-default vici"
BEGINNING_SECONDS = 30
#: The server sends no more packets than this without an answer, as it would on a way that holds little. So a death loses all that is on
#: its way, and only TCP's timer makes it go on, one packet at a time: whatever an heir refuses costs twice as long as what it refused before.
FLIGHT = 16


def config(family):
    """The connection, as configuration of all members."""
    inside = SIDES["inside"][0] + "0/24" if family == 4 else SIDES["inside"][1] + "/64"
    return (f'[[ipsec.connection]]\nname = "road"\nlocal_id = "gw.demo"\nremote_id = "road@demo"\npsk = "{KEY}"\n'
            f'pools = ["guests"]\n[[ipsec.connection.child]]\nname = "inside"\nlocal_ts = ["{inside}"]\n'
            f'[[ipsec.pool]]\nname = "guests"\nnetwork = "{POOLS[family]}"\n')


class Vpn:
    """The client and its tunnel."""

    def __init__(self, lab, family, facts):
        self.lab, self.family = lab, family
        self.has_kernel = bool(shutil.which("linux.uml")) and os.path.isdir("/usr/lib/uml/modules")
        with lab.changing() as changing:
            host = uml.add(lab, changing, HOST, "outside") if self.has_kernel else cli.add_host(lab, changing, HOST, "outside", 1)
        facts["hosts"].append(host)
        self.address = next(one for one in host["addresses"] if (":" in one) == (family == 6))
        #: The client's files, as it sees them. In a guest, sockets must not lie on the machine's file system.
        self.outside = lab.path(HOST)
        os.makedirs(self.outside, exist_ok=True)
        self.inside = "/run/lab" if self.has_kernel else self.outside
        self.socket = "/run/charon.vici" if self.has_kernel else os.path.join(self.outside, "charon.vici")
        self.fetch = None
        self.connect()
        #: What it was given, and the SPIs that are to stay: IKE's and the child's.
        self.given, self.spis, self.child_spi = self.look()

    def connect(self):
        """Starts strongSwan, which sets up the tunnel."""
        pool_way = f"{SIDES['inside'][0 if self.family == 4 else 1]}{CLUSTER_HOST}"
        self.lab.run(f"ip -n server route add {POOLS[self.family]} via {pool_way} cwnd lock {FLIGHT}", "the way back to VPN clients")
        if self.has_kernel:
            self.run(f"modprobe -a {MODULES}")
        # Whoever comes first does ESP.
        kernel = "kernel-netlink" if self.has_kernel else "kernel-libipsec kernel-netlink"
        self.write("strongswan.conf", f"charon-systemd {{\n load = {PLUGINS} {kernel}\n retransmit_timeout = 0.5\n"
                   f" retransmit_base = 1.5\n retransmit_tries = 8\n plugins {{\n vici {{\n socket = unix://{self.socket}\n }}\n"
                   f" kernel-libipsec {{\n allow_peer_ts = yes\n }}\n }}\n filelog {{\n log {{\n path = {self.inside}/charon.log\n"
                   " flush_line = yes\n default = 1\n }\n }\n}\nswanctl {\n load = pem\n}\n")
        self.write("swanctl.conf", self.connection())
        say = f"STRONGSWAN_CONF={self.inside}/strongswan.conf"
        self.run(f"cd {self.inside}; {say} setsid charon-systemd </dev/null >charon.out 2>&1 & p=$!\n"
                 f"until [ -S {self.socket} ]; do kill -0 $p || exit 1; sleep 0.05; done")
        uri = f"--uri unix://{self.socket}"
        self.run(f"export {say}; swanctl --load-all --noprompt --file {self.inside}/swanctl.conf {uri} && "
                 f"swanctl --initiate --child inside --timeout 15 {uri}")

    def connection(self):
        """What strongSwan is told."""
        outer, inner = SIDES["outside"], SIDES["inside"]
        cluster = outer[0 if self.family == 4 else 1] + str(CLUSTER_HOST)
        wanted, inside = ("0.0.0.0", inner[0] + "0/24") if self.family == 4 else ("::", inner[1] + "/64")
        return (f"connections {{\n road {{\n version = 2\n local_addrs = {self.address}\n remote_addrs = {cluster}\n vips = {wanted}\n"
                " proposals = aes256gcm16-prfsha384-x25519\n local {\n auth = psk\n id = road@demo\n }\n"
                " remote {\n auth = psk\n id = gw.demo\n }\n children {\n inside {\n"
                f" remote_ts = {inside}\n esp_proposals = aes256gcm16-x25519\n }}\n }}\n }}\n}}\n"
                f"secrets {{\n ike-1 {{\n secret = \"{KEY}\"\n }}\n}}\n")

    def download(self, web, server):
        """Begins to download from inside, through the tunnel."""
        self.fetch = Fetch(web, "vpn", "the download through the tunnel", lambda url: self.start([*CURL, url]), server)

    def unit(self):
        """The unit of the tunnel: it is in the SPI that the cluster chose."""
        return self.child_spi % 1024

    def owner(self, reports):
        """The number of the member that serves the tunnel, by the word of the first that answers."""
        ranges = reports[min(reports)]["units"]["ranges"]
        return next(one["owner"] for one in ranges if one["first"] <= self.unit() <= one["last"])

    def look(self):
        """Addresses, SPIs of the IKE SA and of the child, the cluster's SPI, as strongSwan has them now."""
        said = self.run(f"STRONGSWAN_CONF={self.inside}/strongswan.conf swanctl --list-sas --pretty --uri unix://{self.socket}")
        spis = re.findall(r"^\s*(?:initiator-spi|responder-spi|spi-in|spi-out) = ([0-9a-f]+)$", said, re.M)
        out = re.findall(r"^\s*spi-out = ([0-9a-f]+)$", said, re.M)
        given = re.findall(r"local-vips = \[\s*(\S+)\s*\]", said)
        if len(spis) != 4 or len(out) != 1 or len(given) != 1:
            raise LabError(f"strongSwan has not one tunnel and an address:\n{said}")
        return given[0], spis, int(out[0], 16)

    def finish(self):
        """What came through the tunnel, and whether it is the same one."""
        return dict(self.fetch.finish(), same_tunnel=self.look()[1] == self.spis)

    # -- the client's machine ---------------------------------------------------------------------------------------

    def write(self, name, text):
        """A file of the client's."""
        with open(os.path.join(self.outside, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, argv):
        """Starts a command there."""
        return subprocess.Popen(self.there(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def run(self, script):
        """Runs a shell script there; what it says."""
        done = subprocess.run(self.there(["sh", "-c", script], BEGINNING_SECONDS), stdin=subprocess.DEVNULL, check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"the VPN client: {done.stderr.strip() or done.stdout.strip()}\n{self.log()}")
        return done.stdout

    def there(self, argv, seconds=None):
        """The command that runs another one there."""
        limit = ["--timeout", str(seconds)] if seconds else []
        return [sys.executable, "-B", os.path.join(product.CHECKOUT, "scripts", "lab"), "--name", self.lab.name, "exec", *limit,
                HOST, "--", *argv]

    def log(self):
        """The end of what strongSwan has said."""
        try:
            with open(os.path.join(self.outside, "charon.log"), encoding="utf-8", errors="replace") as file:
                return "  " + "  ".join(file.readlines()[-20:])
        except OSError:
            return "  (no log)"

    def kill(self):
        """Ends the download, whatever it does. strongSwan ends with the lab."""
        if self.fetch:
            self.fetch.kill()
