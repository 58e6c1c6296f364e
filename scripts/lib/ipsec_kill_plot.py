"""Draws the report of an ipsec-kill run: how long tunnels were silent after each kind of hit, and after returns.

usage: ipsec_kill_plot.py REPORT.json        writes REPORT.png beside it
"""

import json
import os
import sys

try:
    import matplotlib
except ImportError:
    sys.exit("ipsec_kill_plot: python3-matplotlib is missing: scripts/setup installs it")

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)

KINDS = {"kill": ("#1f5fa8", "kill -9"), "pause": ("#2e8b57", "SIGSTOP for longer than the lease"),
         "cut": ("#8e44ad", "all cables cut"), "moves": ("#d98324", "the member comes back")}


def main():
    """Reads the report, writes the picture, says where it is."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    kinds = [kind for kind in KINDS if report["blackouts"].get(kind)]
    figure, all_axes = pyplot.subplots(len(kinds), 1, figsize=(11, 3 * len(kinds) + 1), sharex=True, squeeze=False)
    for axes, kind in zip(all_axes[:, 0], kinds):
        draw_blackouts(axes, report, kind)
    all_axes[-1, 0].set_xlabel("ms without an answer through the tunnel")
    figure.suptitle(f"{report['name']}: {report['tunnels']} IKEv2 tunnels of strongSwan, {report['victims']} members hit "
                    f"({report['masters_among_them']} masters), {report['rekeyings_during_hits']} rekeyings and "
                    f"{report['handshakes_during_hits']} handshakes meanwhile", fontsize=12)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    path = os.path.splitext(sys.argv[1])[0] + ".png"
    figure.savefig(path, dpi=110)
    print(path)


def draw_blackouts(axes, report, kind):
    """How many tunnels were silent for how long."""
    colour, title = KINDS[kind]
    blackouts, limits = report["blackouts"][kind], report["limits"]
    histogram = blackouts["histogram"]
    width = histogram["bin_ms"]
    edges = [histogram["from_ms"] + width * index for index in range(len(histogram["counts"]) + 1)]
    if histogram["counts"]:
        label = (f"{blackouts['touched']} silences, {blackouts['untouched']} tunnels untouched; median "
                 f"{blackouts['median_ms']:.0f} ms, worst {blackouts['worst_ms']:.0f} ms")
        axes.stairs(histogram["counts"], edges, fill=True, alpha=0.7, color=colour, label=label)
    axes.axvline(limits["median_ms"], color="black", linestyle="--", linewidth=1.2,
                 label=f"limit of the median: {limits['median_ms']:g} ms")
    axes.axvline(limits["worst_ms"], color="#c0392b", linestyle="--", linewidth=1.2,
                 label=f"limit of the worst: {limits['worst_ms']:g} ms")
    axes.set_title(f"{title} ({blackouts['events']} times)", fontsize=11)
    axes.set_ylabel("tunnels")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=9)


if __name__ == "__main__":
    main()
