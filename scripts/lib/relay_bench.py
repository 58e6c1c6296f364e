"""Runs the relay and HAProxy in turns, between the same client and the same server. Called by scripts/bench, which explains it.

A lab is built for it (scripts/lab): a client outside, a server inside, real kernels both. HAProxy gets a namespace of its own
on the same two bridges, with a kernel's TCP; Phalanx its members on packet sockets. Both relay the same ports to the same
server: the client only chooses an address.

Two wires are measured. `frames`: every frame is one that a cable carries, for everybody (offload is off, as in all labs).
`offload`: the kernels may pass 64 KB pieces to one another, as they do on one machine; a packet socket is still given frames,
so this is HAProxy's best case and says nothing of members on cards of their own.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from bench_common import Failed, finish, run, save

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LAB = [os.path.join(ROOT, "scripts", "lab")]
BULK, SHORT = 5201, 7801
SERVER = "10.3.0.100"
#: Whom the client asks: the cluster's address, and HAProxy's.
ADDRESS = {"phalanx": "10.2.0.10", "haproxy": "10.2.0.9"}
WIRES = ("frames", "offload")
#: Connections of the throughput test; short ones at the same time; addresses that they come from.
STREAMS, AT_ONCE, SOURCES = 4, 64, 20
START_S = 10
#: Phalanx counts those in TIME-WAIT, too.
CONNECTIONS_MAX = 200000
#: Two descriptors each: what a process may have open here.
HAPROXY_MAX = 4000

RELAYS = "".join(f"""
[[relay]]
name = "port{port}"
listen = "{ADDRESS['phalanx']}:{port}"
backend = ["{SERVER}:{port}"]
connections_max = {CONNECTIONS_MAX}
""" for port in (BULK, SHORT))

HAPROXY = f"""
global
    nbthread 1
    maxconn {HAPROXY_MAX}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
""" + "".join(f"""
listen port{port}
    bind {ADDRESS['haproxy']}:{port}
    server inside {SERVER}:{port}
""" for port in (BULK, SHORT))

HAPROXY_HOST = """
ip netns add haproxy
ip -n haproxy link set lo up
for side in outside:2 inside:3; do
    ip link add ha-${side#*:} type veth peer name e${side#*:} netns haproxy
    ethtool -K ha-${side#*:} tx off >/dev/null
    ip netns exec haproxy ethtool -K e${side#*:} tx off gro off >/dev/null
    ip link set ha-${side#*:} master ${side%:*} up
    ip -n haproxy link set e${side#*:} up
    ip -n haproxy addr add 10.${side#*:}.0.9/24 dev e${side#*:}
done
"""


class Stage:
    """The lab, the server's programs, and HAProxy. Ends with all of them."""

    def __init__(self, members, options):
        self.name = f"bench-relay-{members}"
        self.members = members
        self.options = options
        self.spawned = []
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def start(self):
        folder = self.cleanup.enter_context(tempfile.TemporaryDirectory(prefix="phalanx-bench-"))
        for file, text in (("relays.toml", RELAYS), ("haproxy.cfg", HAPROXY)):
            with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
                out.write(text)
        self.cleanup.callback(subprocess.run, [*LAB, "down", "--name", self.name], check=False)
        run([*LAB, "up", "--name", self.name, "--members", str(self.members), "--config",
             os.path.join(folder, "relays.toml")], "the lab")
        self.inside("switch", "sh", "-ec", HAPROXY_HOST)
        self.spawn("server", self.options.traffic, "server")
        self.spawn("server", "iperf3", "-s", "-p", str(BULK))
        self.config = os.path.join(folder, "haproxy.cfg")
        self.spawn("switch", "ip", "netns", "exec", "haproxy", "haproxy", "-db", "-f", self.config)
        for peer in ADDRESS:
            self.await_answers(peer)

    def command(self, host, *argv):
        return [*LAB, "exec", "--name", self.name, host, "--", *argv]

    def inside(self, host, *argv):
        return run(self.command(host, *argv), " ".join(argv[:6]))

    def spawn(self, host, *argv):
        said = self.cleanup.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
        process = subprocess.Popen(self.command(host, *argv), stdout=subprocess.DEVNULL, stderr=said)

        def end():
            process.terminate()
            process.wait(START_S)
        self.cleanup.callback(end)
        self.spawned.append((process, argv, said))

    def check_spawned(self):
        """Nobody has ended."""
        for process, argv, said in self.spawned:
            if process.poll() is not None:
                said.seek(0)
                raise Failed(f"{' '.join(argv)} has ended with {process.returncode}: {said.read().strip()[-800:]}")

    def await_answers(self, peer):
        """Both ports of a peer lead to the server."""
        until = time.monotonic() + START_S
        while True:
            try:
                self.rate(peer, 0.2)
                return self.bulk(peer, 1)
            except Failed as problem:
                self.check_spawned()
                if time.monotonic() > until:
                    raise Failed(f"{peer} does not relay: {problem}") from None

    def rate(self, peer, seconds):
        """Short connections per second."""
        sources = [word for n in range(SOURCES) for word in ("--source", f"10.2.0.{100 + n}")]
        said = self.inside("client", self.options.traffic, "rate", "--server", f"{ADDRESS[peer]}:{SHORT}", "--seconds",
                           str(seconds), "--connections", str(AT_ONCE), *sources)
        return json.loads(said)["per_s"]

    def bulk(self, peer, seconds):
        """Gbit/s that the server received."""
        said = self.inside("client", "iperf3", "-c", ADDRESS[peer], "-p", str(BULK), "-P", str(STREAMS), "-t", str(seconds),
                           "-J")
        report = json.loads(said)
        if "error" in report:
            raise Failed(f"iperf3: {report['error']}")
        return report["end"]["sum_received"]["bits_per_second"] / 1e9

    def set_wire(self, wire):
        """Offload at every kernel's end; members get frames in either case."""
        word = "on" if wire == "offload" else "off"
        ends = [("client", "e0"), ("server", "e0"), ("haproxy", "e2"), ("haproxy", "e3")]
        ports = ["client-0", "server-0", "ha-2", "ha-3"]
        script = [f"ip netns exec {host} ethtool -K {device} tx {word} tso {word} gso {word} gro {word}" for host, device in ends]
        script += [f"ethtool -K {device} tx {word} tso {word} gso {word}" for device in ports]
        self.inside("switch", "sh", "-ec", "\n".join(f"{line} >/dev/null" for line in script))

    def processes(self, peer):
        """Process numbers of a peer."""
        if peer == "phalanx":
            status = json.loads(run([*LAB, "status", "--name", self.name, "--json"], "the lab's status"))
            return [member["pid"] for member in status["members"] if member["pid"]]
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    words = file.read().split("\0")
                if os.path.basename(words[0]) == "haproxy" and self.config in words:
                    found.append(int(pid))
        return found


def cpu_seconds(pids):
    """What processes have used so far: in their own code, and in the kernel."""
    ticks = [0, 0]
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = [before + int(field) for before, field in zip(ticks, fields[11:13])]
    return [count / os.sysconf("SC_CLK_TCK") for count in ticks]


TESTS = {"throughput": ("bulk", "Gbit/s"), "connections": ("rate", "per s")}


def compare(stage, wire, test, options):
    """All rounds of one test on one wire; answers its object for the JSON file."""
    method, unit = TESTS[test]
    values = {peer: [] for peer in ADDRESS}
    costs = {peer: [] for peer in ADDRESS}
    for number in range(1, options.rounds + 1):
        for peer in ADDRESS:
            pids = stage.processes(peer)
            if not pids:
                raise Failed(f"{peer} does not run")
            before = cpu_seconds(pids)
            value = getattr(stage, method)(peer, options.seconds)
            values[peer].append(value)
            # A gigabyte, or a thousand connections.
            amount = value * options.seconds / 8 if test == "throughput" else value * options.seconds / 1000
            costs[peer].append([(after - at) / amount for after, at in zip(cpu_seconds(pids), before)])
        ours, theirs = values["phalanx"][-1], values["haproxy"][-1]
        print(f"{stage.members} member(s), {wire}, {test}, round {number}: phalanx {ours:.4g}, haproxy {theirs:.4g} {unit}, "
              f"ratio {ours / theirs:.2f}", file=sys.stderr)
    ratios = [ours / theirs for ours, theirs in zip(values["phalanx"], values["haproxy"])]
    cpu = {peer: [statistics.median(part) for part in zip(*costs[peer])] for peer in ADDRESS}
    shown = {peer: f"{own:.2f} + {kernel:.2f}" for peer, (own, kernel) in cpu.items()}
    print(f"{test:<13}{wire:<9}{stage.members:>3}  {spread(values['phalanx']):<22}{spread(values['haproxy']):<22}{unit:<8}"
          f"{spread(ratios):<20}{shown['phalanx']:<14}{shown['haproxy']}", flush=True)
    return {
        "bench": f"relay-{test}", "wire": wire, "members": stage.members, "unit": unit,
        "phalanx": statistics.median(values["phalanx"]), "haproxy": statistics.median(values["haproxy"]),
        "ratio": statistics.median(ratios), "ratios": ratios,
        "cpu_s": {peer: {"own": own, "kernel": kernel} for peer, (own, kernel) in cpu.items()},
    }


def spread(values):
    """Least, median, most."""
    return "/".join(f"{value:.3g}" if value < 1000 else f"{value:.0f}"
                    for value in (min(values), statistics.median(values), max(values)))


def main():
    parser = argparse.ArgumentParser()
    for name in ("traffic", "json", "members"):
        parser.add_argument(f"--{name}")
    for name in ("rounds", "seconds"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    print("CPU: seconds of a relay's processes, in their own code + in the kernel, for a GB or for 1000 connections")
    print(f"{'relay':<13}{'wire':<9}{'n':>3}  {'phalanx (min/med/max)':<22}{'haproxy':<22}{'':<8}{'ratio':<20}{'CPU':<14}haproxy",
          flush=True)
    results = []
    for members in (int(word) for word in options.members.split()):
        with Stage(members, options) as stage:
            for wire in WIRES:
                stage.set_wire(wire)
                results += [compare(stage, wire, test, options) for test in TESTS]
    save(results, options.json)


if __name__ == "__main__":
    finish(main)
