"""Runs phalanx bench and dpdk-testpmd in turns and compares them. Called by scripts/bench, which explains it."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from bench_common import Failed, finish, run, save, spread

# Whom each benchmark is compared with, and what testpmd's ratio is for.
PEER = {"discard": "rxonly", "classify": "rxonly", "forward": "macswap", "master-forward": "macswap"}
# Measured once a round as well, to show where the peer stands between its own modes.
MORE = ["io", "5tswap"]
MEMORY_MB = 256
WARM_UP_S = 0.3
START_S = 30


def devices(pmd, size, pcap):
    """The device to receive from, and the one to transmit to."""
    if pmd == "net_null":
        return [f"net_null0,size={size}", "net_null1,no-rx=1"]
    return [f"net_pcap0,rx_pcap={pcap},infinite_rx=1", "net_null0,no-rx=1"]


class Testpmd:
    """One run of testpmd: its commands go in by its standard input, its statistics come out line by line."""

    def __init__(self, mode, pmd, size, pcap, core):
        other = next((c for c in sorted(os.sched_getaffinity(0)) if c != core), core)
        command = ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@{other},1@{core}", "--in-memory", "--no-pci",
                   "--no-telemetry", "-m", str(MEMORY_MB)]
        command += [f"--vdev={device}" for device in devices(pmd, size, pcap)]
        command += ["--", "-i", "--no-flush-rx", f"--forward-mode={mode}", "--txd=512", "--rxd=512", "--burst=32",
                    "--total-num-mbufs=16384", "--port-topology=paired"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self.said = []

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def wait_for(self, pattern):
        for line in self.process.stdout:
            self.said.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        raise Failed("dpdk-testpmd ended early:\n" + "".join(self.said[-15:]))

    def received(self):
        """How many packets, and when."""
        self.say("show port stats 0")
        count = int(self.wait_for(r"RX-packets:\s*(\d+)")[1])
        return count, time.monotonic()

    def mpps(self, seconds):
        self.say("show port info 0")
        self.wait_for(r"Infos for port 0")
        self.say("start")
        self.wait_for(r"packet forwarding")
        time.sleep(WARM_UP_S)
        before, begin = self.received()
        time.sleep(seconds)
        after, end = self.received()
        self.say("stop")
        self.say("quit")
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(START_S)
        return (after - before) / (end - begin) / 1e6

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run_testpmd(mode, options, size, pcap):
    testpmd = Testpmd(mode, options.pmd, size, pcap, options.core)
    try:
        return testpmd.mpps(options.seconds)
    finally:
        testpmd.end()


def run_phalanx(name, options, size, pcap):
    command = [options.phalanx, "bench", name, "--pmd", options.pmd, "--size", str(size), "--seconds",
               str(options.seconds), "--cores", str(options.core), "--json"]
    if options.pmd == "net_pcap":
        command += ["--pcap", pcap]
    return json.loads(run(command))


def compare(name, options, size, pcap):
    """All rounds of one benchmark; answers its object for the JSON file."""
    ours, peers, ratios, more = [], [], [], {mode: [] for mode in MORE}
    for number in range(1, options.rounds + 1):
        report = run_phalanx(name, options, size, pcap)
        peer = run_testpmd(PEER[name], options, size, pcap)
        ours.append(report)
        peers.append(peer)
        ratios.append(report["mpps"] / peer)
        print(f"{name} {size} B, round {number}: phalanx {report['mpps']:.2f}, testpmd {PEER[name]} {peer:.2f} Mpps, "
              f"ratio {ratios[-1]:.2f}", file=sys.stderr)
        if name in ("forward", "master-forward"):
            for mode in MORE:
                theirs = run_testpmd(mode, options, size, pcap)
                more[mode].append((theirs, report["mpps"] / theirs))
    median = {key: statistics.median(report[key] for report in ours)
              for key in ("mpps", "gbps", "ns_per_packet", "cycles_per_packet")}
    print(f"{name:<15}{size:>5}  {spread([r['mpps'] for r in ours]):<20}{median['gbps']:>7.2f}"
          f"{median['cycles_per_packet']:>8.1f}{max(r['allocations_per_packet'] for r in ours):>8.3g}  "
          f"{PEER[name]:<8}{spread(peers):<20}{spread(ratios)}", flush=True)
    for mode, values in more.items():
        if values:
            theirs, theirs_ratios = zip(*values)
            print(f"{'':<52}{'':>11}{mode:<8}{spread(theirs):<20}{spread(theirs_ratios)}", flush=True)
    return {
        "bench": name, "pmd": options.pmd, "size": size, **median,
        # The worst round counts: one allocation in any of them would be one too many.
        "allocations_per_packet": max(report["allocations_per_packet"] for report in ours),
        "peer": {"name": PEER[name], "mpps": statistics.median(peers)},
        "ratio": statistics.median(ratios),
    }


def main():
    parser = argparse.ArgumentParser()
    for name in ("phalanx", "pmd", "json", "sizes", "names"):
        parser.add_argument(f"--{name}")
    for name in ("rounds", "seconds", "core"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    results = []
    print(f"{'bench':<15}{'bytes':>5}  {'Mpps (min/med/max)':<20}{'Gbit/s':>7}{'cycles':>8}{'allocs':>8}  "
          f"{'testpmd':<8}{'Mpps':<20}ratio", flush=True)
    with tempfile.TemporaryDirectory(prefix="phalanx-bench-") as folder:
        for size in (int(size) for size in options.sizes.split()):
            pcap = os.path.join(folder, f"{size}.pcap")
            subprocess.run([options.phalanx, "bench", "discard", "--size", str(size), "--save", pcap, "--seconds", "0"],
                           check=True)
            results += [compare(name, options, size, pcap) for name in options.names.split()]
    save(results, options.json)


if __name__ == "__main__":
    finish(main)
