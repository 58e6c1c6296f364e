"""One run: a cluster comes up, carries traffic, loses two owners, loses its master, gets all back, is drained of one.

The owners that it loses are that of a download by `curl` through a relay, and that of a VPN client's tunnel, which downloads
through it. Both downloads go on to the end of the run.
"""

import os
import tempfile
import time
from types import SimpleNamespace

from lab import cli, members, product
from lab.state import Lab, LabError, await_true
from lab.topology import CLUSTER_HOST, FIRST_HOST, SIDES

from . import vpn
from .download import Download, relay_config
from .fetch import Web
from .traffic import Traffic

MEMBERS = 3
PERIOD_MS = 25
LOSSES_MIN = 5
#: How long traffic flows between one event and the next.
CALM_SECONDS = 3
#: By then a member that came back must carry work again.
SHARE_SECONDS = 10
#: How many of the client's addresses are looked at for ping flows of every owner.
CANDIDATES = 24


class Story:
    """The run's lab, its traffic, and what it has seen."""

    def __init__(self, mode, family, tell):
        self.mode, self.family, self.tell = mode, family, tell
        self.lab = Lab(f"demo-{os.getpid()}")
        self.facts = None
        self.traffic = None
        self.flows = []
        #: The source of downloads.
        self.web = None
        #: The download through the relay, and what became of it.
        self.download = None
        self.relayed = {}
        #: The VPN client, and what became of its tunnel.
        self.vpn = None
        self.tunnelled = {}
        #: Packets that each member processed as an owner, over all its lives.
        self.carried = {number: 0 for number in range(1, MEMBERS + 1)}
        #: What a death may cost by configuration: this is what blackouts are judged by.
        self.detection_ms = LOSSES_MIN * PERIOD_MS
        #: Losses in a row that condemned a member when one was killed. The cluster adapts it to the losses that it sees;
        #: a machine that makes it grow makes blackouts longer, which the report shows and the verdict does not excuse.
        self.adaptive_n = LOSSES_MIN
        self.healthy = False

    def play(self, logs):
        """All of it; the traffic generator's report. Members' logs are left in the directory `logs`."""
        began = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(relay_config(self.family, self.address("outside", CLUSTER_HOST), self.address("inside", FIRST_HOST)))
            config.write(vpn.config(self.family))
            config.flush()
            stage = SimpleNamespace(members=MEMBERS, mode=self.mode, quorum="none", period_ms=PERIOD_MS,
                                    losses_min=LOSSES_MIN, config=config.name, no_start=False, timeout=30)
            # The holder's standard input stays open in this process: the lab ends when the demo does, however it does.
            holder = cli.bring_up(self.lab, stage)
        try:
            self.facts = self.lab.load()
            self.tell(f"{MEMBERS} members are one cluster ({self.mode}, IPv{self.family}), "
                      f"{time.monotonic() - began:.1f} s after the first began; the master is {self.name(self.master())}")
            self.start_traffic()
            self.web = Web(self.lab)
            self.start_download()
            self.start_vpn()
            time.sleep(CALM_SECONDS)
            self.show_shares()
            self.kill_an_owner()
            self.kill_the_tunnels_owner()
            self.kill_the_master()
            self.drain_one()
            self.healthy = self.settled(10)
            self.count_packets()
            self.web.stop()
            self.relayed.update(self.download.finish())
            self.tunnelled.update(self.vpn.finish())
            return self.traffic.finish()
        finally:
            for processes in filter(None, (self.vpn, self.download, self.web, self.traffic)):
                processes.kill()
            cli.save_files(self.lab, logs)
            self.lab.destroy()
            holder.wait()

    # -- the acts -------------------------------------------------------------------------------------------------------

    def start_traffic(self):
        """One ping flow for every owner, so that every death is felt; TCP from all of the client's addresses."""
        client, server = (next(h for h in self.facts["hosts"] if h["name"] == name) for name in ("client", "server"))
        sources = [address for address in client["addresses"] if (":" in address) == (self.family == 6)]
        target = next(address for address in server["addresses"] if (":" in address) == (self.family == 6))
        owners = {}
        for source in sources[:CANDIDATES]:
            owner = self.owner(source, target)
            owners.setdefault(owner, source)
            if len(owners) == MEMBERS:
                break
        self.flows = [(source, target) for source in owners.values()]
        self.traffic = Traffic(self.lab, target, sources, [source for source, _ in self.flows], seconds=300)
        self.traffic.await_ready()
        self.tell(f"traffic flows: pings from {len(self.flows)} addresses, 100/s each; UDP 100/s; "
                  f"TCP 200 connections/s from {len(sources)} addresses; a download")

    def start_download(self):
        """`curl`, through a relay, on a connection that is not the master's."""
        others = [number for number in self.carried if number != self.master()]
        self.download = Download(self.lab, self.web, self.address("outside", FIRST_HOST), self.address("outside", CLUSTER_HOST),
                                 self.owner_of_connection, others)
        self.tell(f"curl downloads through the relay; the connection is {self.name(self.download.owner())}'s")

    def start_vpn(self):
        """A VPN client connects, and downloads through its tunnel."""
        self.vpn = vpn.Vpn(self.lab, self.family, self.facts)
        self.vpn.download(self.web, self.address("inside", FIRST_HOST))
        kind = "a kernel of its own" if self.vpn.has_kernel else "no kernel of its own here (no user-mode Linux): ESP in UDP"
        self.tell(f"strongSwan ({kind}) connects by IKEv2, is given {self.vpn.given}, and downloads from inside; "
                  f"its tunnel is {self.name(self.vpn.owner(self.reports()))}'s")

    def show_shares(self):
        """Who does how much."""
        for number, report in sorted(self.reports().items()):
            self.tell(f"    {self.name(number)}: {report['units']['own']:4} units, {own_packets(report):6} packets"
                      f"{'  (master)' if report['role'] == 'master' else ''}")

    def kill_an_owner(self):
        """kill -9 to the member that the download's connection ends on."""
        victim = self.download.owner()
        before = self.download.bytes()
        killed = self.kill(victim, "owner_killed", "the owner of curl's download")
        heir, after = self.download.owner(), self.download.bytes()
        self.relayed = {"owner": self.name(victim), "heir": self.name(heir) if heir else None, "bytes_at_kill": before,
                        "bytes_after": after, "standstill_ms": self.download.standstill_ms(killed)}
        self.tell(f"    the download goes on: it is {self.relayed['heir']}'s now, went from {before / 1e6:.1f} to "
                  f"{after / 1e6:.1f} MB, and stood still for {self.relayed['standstill_ms']:g} ms")
        self.bring_back(victim, "owner_back")

    def kill_the_tunnels_owner(self):
        """kill -9 to the member that serves the VPN client."""
        victim = self.vpn.owner(self.reports())
        before = self.vpn.fetch.bytes()
        killed = self.kill(victim, "tunnel_owner_killed", "the owner of the VPN client's tunnel")
        heir, after = self.vpn.owner(self.reports()), self.vpn.fetch.bytes()
        self.tunnelled = {"owner": self.name(victim), "heir": self.name(heir) if heir else None, "bytes_at_kill": before,
                          "bytes_after": after, "standstill_ms": self.vpn.fetch.standstill_ms(killed),
                          "kernel": self.vpn.has_kernel}
        self.tell(f"    the tunnel is {self.tunnelled['heir']}'s now: the download went from {before / 1e6:.1f} to "
                  f"{after / 1e6:.1f} MB, and stood still for {self.tunnelled['standstill_ms']:g} ms")
        self.bring_back(victim, "tunnel_owner_back")

    def kill_the_master(self):
        """kill -9 to the master."""
        victim = self.master()
        before = self.vpn.fetch.bytes()
        killed = self.kill(victim, "master_killed", "the master")
        self.tunnelled["master_standstill_ms"] = self.vpn.fetch.standstill_ms(killed)
        self.tunnelled["bytes_after_master"] = self.vpn.fetch.bytes() - before
        self.tell(f"    the master is now {self.name(self.master())}")
        self.bring_back(victim, "master_back")

    def drain_one(self):
        """A planned leave: nothing may be lost by it."""
        victim = self.owner_of_a_flow()
        self.count_packets(only=victim)
        self.traffic.mark("drain")
        product.drain(self.facts["binary"], self.socket(victim))
        time.sleep(CALM_SECONDS)
        self.tell(f"{self.name(victim)} was drained: the others do its work")
        if not members.has_ended(self.lab, self.name(victim)):
            members.stop(self.lab, self.name(victim))
        self.bring_back(victim, "drained_back")

    # -- their parts ----------------------------------------------------------------------------------------------------

    def kill(self, victim, event, role):
        """Kills a member under traffic, and lets the others show that they do; when that was."""
        self.count_packets(only=victim)
        self.adaptive_n = max([self.adaptive_n, *(round(r["detection_ms"] / PERIOD_MS) for r in self.reports().values())])
        self.traffic.mark(event)
        killed = time.monotonic()
        members.kill(self.lab, self.name(victim))
        time.sleep(CALM_SECONDS)
        self.require_settled(f"after the death of {self.name(victim)}")
        self.tell(f"{self.name(victim)}, {role}, was killed (kill -9); the other two carry on")
        return killed

    def bring_back(self, victim, event):
        """Starts a member again, and waits until it has work."""
        self.traffic.mark(event)
        members.start(self.lab, self.facts, self.name(victim), victim)
        self.require_settled(f"after {self.name(victim)} came back", SHARE_SECONDS)

        def works():
            report = product.status(self.socket(victim))
            return report and report["units"]["own"] > 0

        if not await_true(works, SHARE_SECONDS, interval=0.2):
            raise LabError(f"{self.name(victim)} came back and got no work within {SHARE_SECONDS} s")
        time.sleep(CALM_SECONDS)
        self.tell(f"{self.name(victim)} is back: {product.status(self.socket(victim))['units']['own']} units")

    def settled(self, seconds):
        """Whether the running members come to agree in time."""
        return await_true(lambda: members.problem_of(members.survey(self.lab, self.facts)) is None, seconds, interval=0.2)

    def require_settled(self, when, seconds=5):
        """The running members must agree."""
        if not self.settled(seconds):
            problem = members.problem_of(members.survey(self.lab, self.facts))
            raise LabError(f"the cluster is not healthy {when}: {problem}")

    def owner_of_a_flow(self):
        """A member that owns a ping flow and is not the master; failing that, any that is not the master."""
        master = self.master()
        for source, target in self.flows:
            owner = self.owner(source, target)
            if owner not in (None, master):
                return owner
        return next(number for number in self.carried if number != master)

    def owner(self, source, target):
        """Who owns the unit of this flow, by the word of the first member that answers."""
        asked = min(self.reports())
        config = self.lab.path(self.name(asked), "config.toml")
        return product.unit(self.facts["binary"], config, self.socket(asked), source, target)[1]

    def owner_of_connection(self, source, source_port, cluster, port):
        """Who owns the unit of a connection to a relay, by the word of the first member that answers."""
        asked = min(self.reports())
        return product.connection_unit(self.facts["binary"], self.lab.path(self.name(asked), "config.toml"),
                                       self.socket(asked), (source, source_port), (cluster, port))[1]

    def address(self, side, host):
        """A host's address on a side, in the run's family."""
        return f"{SIDES[side][0 if self.family == 4 else 1]}{host}"

    def master(self):
        """The master's number."""
        return next(iter(self.reports().values()))["master"]

    def reports(self):
        """Status by number, of all members that answer."""
        rows = members.survey(self.lab, self.facts)
        reports = {row["id"]: row["phalanx"] for row in rows if row["phalanx"]}
        if not reports:
            raise LabError("no member answers")
        return reports

    def count_packets(self, only=None):
        """Adds what members have processed in this life, before it ends."""
        for number, report in self.reports().items():
            if only in (None, number):
                self.carried[number] += own_packets(report)

    def name(self, number):
        """m1, m2, ..."""
        return f"m{number}"

    def socket(self, number):
        """A member's control socket."""
        return self.lab.path(self.name(number), "ctl.sock")


def own_packets(report):
    """What a member says that it has processed as an owner."""
    mine = report["member"]["id"]
    return next((entry.get("packets", 0) for entry in report["members"] if entry["id"] == mine), 0)
