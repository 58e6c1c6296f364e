"""scripts/demo: plays the story once or several times, tells it, writes target/demo/report.json."""

import argparse
import json
import os
import sys

from lab import cli, product
from lab.state import LabError

from .story import Story
from .verdict import BLACKOUTS, run_report, whole_report


def main():
    """Exit 0 only if nothing was lost that must not be."""
    parser = argparse.ArgumentParser(prog="demo", description="Three members, real traffic, real deaths.")
    parser.add_argument("--mode", choices=["forward", "unicast", "multicast"], default="forward")
    parser.add_argument("--family", type=int, choices=[4, 6], default=4)
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="so many times, each with a new cluster")
    arguments = parser.parse_args()
    cli.stop_like_ctrl_c()
    runs = []
    try:
        for number in range(1, max(arguments.runs, 1) + 1):
            if arguments.runs > 1:
                tell(f"--- run {number} of {arguments.runs}")
            runs.append(play(arguments, number))
    except LabError as problem:
        tell(f"FAILED: {problem}\n(logs: {directory()})")
        return 1
    except KeyboardInterrupt:
        return 130
    report = whole_report(runs)
    path = write(report)
    for problem in report["problems"]:
        tell(f"FAILED: {problem}")
    if not report["problems"]:
        tell(f"Nothing was lost. ({path})")
    return 1 if report["problems"] else 0


def play(arguments, number):
    """One run, with its figures told."""
    story = Story(arguments.mode, arguments.family, tell)
    report = run_report(story, story.play(os.path.join(directory(), f"run-{number}")))
    figures = ", ".join(f"{what.replace('_', ' ')} {report['blackout_ms'].get(what, '?')} ms" for what in BLACKOUTS)
    tell(f"longest time without a ping's answer: {figures} (detection is configured to take "
         f"{report['detection_ms']:g} ms; n went to {report['adaptive_n']})")
    tell(f"TCP: {report['tcp_connections']} connections, {report['tcp_failed']} failed; download: "
         f"{report['download_bytes'] / 1e6:.0f} MB, {'every byte right' if report['download_intact'] else 'BROKEN'}; "
         f"answers given twice: {report['duplicates']}")
    relayed = report["relay_download"]
    tell(f"curl through the relay: {relayed['bytes'] / 1e6:.1f} MB, its owner {relayed['owner']} killed in the midst: "
         f"{'the checksum is the source' + chr(39) + 's' if relayed['intact'] else 'BROKEN'}; "
         f"it stood still for {relayed['standstill_ms']:g} ms")
    tunnelled = report["vpn_download"]
    tell(f"strongSwan's download through the tunnel: {tunnelled['bytes'] / 1e6:.1f} MB, its owner {tunnelled['owner']} and the "
         f"master killed in the midst: {'the checksum is the source' + chr(39) + 's' if tunnelled['intact'] else 'BROKEN'}; "
         f"{'no new handshake' if tunnelled['same_tunnel'] else 'THE TUNNEL IS ANOTHER'}; "
         f"it stood still for {tunnelled['standstill_ms']:g} and {tunnelled['master_standstill_ms']:g} ms")
    return report


def directory():
    """target/demo"""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(product.CHECKOUT, "target")
    return os.path.join(target, "demo")


def write(report):
    """target/demo/report.json; its path."""
    path = os.path.join(directory(), "report.json")
    os.makedirs(directory(), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    return path


def tell(line):
    """One line of the story."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
