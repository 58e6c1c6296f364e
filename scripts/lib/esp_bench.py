"""Runs phalanx bench esp-encrypt and esp-decrypt in turns with dpdk-test-crypto-perf. Called by scripts/bench, which explains it."""

import argparse
import json
import os
import re
import statistics
import sys

from bench_common import Failed, finish, run, save, spread

# How the peer is told of a transform: its device, and what differs by direction.
GCM = "--optype aead --aead-algo aes-gcm --aead-iv-sz 12 --aead-aad-sz 12 --digest-sz 16 --aead-key-sz"
CBC = "--cipher-algo aes-cbc --cipher-key-sz 16 --cipher-iv-sz 16 --auth-algo"
ALGORITHMS = {
    "aes128gcm16": ("crypto_aesni_gcm", f"{GCM} 16"),
    "aes256gcm16": ("crypto_aesni_gcm", f"{GCM} 32"),
    "aes128-sha1": ("crypto_aesni_mb", f"{CBC} sha1-hmac --auth-key-sz 20 --digest-sz 12"),
    "aes128-sha256": ("crypto_aesni_mb", f"{CBC} sha2-256-hmac --auth-key-sz 32 --digest-sz 16"),
}
IMIX = "imix"
# The same mix of sizes as ours, by weight.
IMIX_SIZES, IMIX_WEIGHTS = "64,570,1418", "7,4,1"
OPERATIONS_A_SECOND = 4_000_000
TIMEOUT_S = 120


def run_phalanx(work, options, algorithm, size, sas):
    command = [options.phalanx, "bench", work, "--algorithm", algorithm, "--sas", str(sas), "--seconds", str(options.seconds),
               "--cores", str(options.core), "--json"]
    # What is to be opened comes with numbers of its own, from no device that knows one capture only.
    command += ["--pmd", options.pmd] if work == "esp-encrypt" else []
    command += ["--imix"] if size == IMIX else ["--size", size]
    return json.loads(run(command, timeout=TIMEOUT_S))


def run_peer(work, options, algorithm, size):
    """How many million operations a second the peer does, with nothing around them."""
    device, how = ALGORITHMS[algorithm]
    how = how.split()
    if "--aead-algo" in how:
        how += ["--aead-op", "encrypt" if work == "esp-encrypt" else "decrypt"]
        block = 1
    else:
        # It takes whole blocks only; and to check an HMAC it wants packets of one's own, so it encrypts either way.
        how += ["--optype", "cipher-then-auth", "--cipher-op", "encrypt", "--auth-op", "generate"]
        block = 16
    whole = [-(-int(number) // block) * block for number in (IMIX_SIZES if size == IMIX else size).split(",")]
    sizes = ["--buffer-sz", ",".join(str(number) for number in whole)]
    sizes += ["--imix", IMIX_WEIGHTS] if size == IMIX else []
    other = next((c for c in sorted(os.sched_getaffinity(0)) if c != options.core), options.core)
    command = ["dpdk-test-crypto-perf", f"--lcores=0@{other},1@{options.core}", "--in-memory", "--no-pci", "--no-telemetry",
               "-m", "256", f"--vdev={device}0", "--", "--devtype", device, "--ptest", "throughput", "--silent", "--burst-sz",
               "32", "--pool-sz", "1024", "--total-ops", str(OPERATIONS_A_SECOND * options.seconds)] + sizes + how
    rows = re.findall(r"^\s+\d+\s+\d+\s+32\s+\d+\s+\d+\s+\d+\s+\d+\s+([\d.]+)\s+[\d.]+\s+[\d.]+\s*$", run(command, timeout=TIMEOUT_S), re.M)
    if not rows:
        raise Failed(f"{' '.join(command)}: no figures came out")
    return float(rows[-1])


def compare(work, options, algorithm, size, sas):
    """All rounds of one benchmark; answers its object for the JSON file."""
    ours, peers = [], []
    for number in range(1, options.rounds + 1):
        ours.append(run_phalanx(work, options, algorithm, size, sas))
        peers.append(run_peer(work, options, algorithm, size))
        print(f"{work} {algorithm} {size} B, {sas} SAs, round {number}: phalanx {ours[-1]['mpps']:.2f}, peer {peers[-1]:.2f}",
              file=sys.stderr)
    ratios = [report["mpps"] / peer for report, peer in zip(ours, peers)]
    keys = ("mpps", "gbps", "ns_per_packet", "cycles_per_packet")
    median = {key: statistics.median(report[key] for report in ours) for key in keys}
    allocations = max(report["allocations_per_packet"] for report in ours)
    print(f"{work:<12}{algorithm:<14}{size:>5}{sas:>5}  {spread([r['mpps'] for r in ours]):<17}"
          f"{median['cycles_per_packet']:>8.1f}{allocations:>8.3g}  {spread(peers):<20}{spread(ratios)}", flush=True)
    return {
        "bench": work, "pmd": ours[0]["pmd"], "size": ours[0]["size"], "mix": size == IMIX, "algorithm": algorithm, "sas": sas,
        **median, "allocations_per_packet": allocations,
        "peer": {"name": "dpdk-test-crypto-perf", "mpps": statistics.median(peers)}, "ratio": statistics.median(ratios),
    }


def main():
    parser = argparse.ArgumentParser()
    for name in ("phalanx", "json", "pmd", "sizes", "algorithms", "sas", "works"):
        parser.add_argument(f"--{name}")
    for name in ("rounds", "seconds", "core"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    results = []
    print(f"{'bench':<12}{'algorithm':<14}{'bytes':>5}{'SAs':>5}  {'Mpps min/med/max':<17}{'cycles':>8}{'allocs':>8}  "
          f"{'crypto-perf Mpps':<20}ratio", flush=True)
    for algorithm in options.algorithms.split():
        if algorithm not in ALGORITHMS:
            raise Failed(f"{algorithm}: not one of {', '.join(ALGORITHMS)}")
        for work in options.works.split():
            for size in options.sizes.split():
                results += [compare(work, options, algorithm, size, int(sas)) for sas in options.sas.split()]
    save(results, options.json)


if __name__ == "__main__":
    finish(main)
