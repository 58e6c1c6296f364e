"""Draws the report of a relay-kill run: throughput across a death, and how long connections waited.

usage: relay_kill_plot.py REPORT.json        writes REPORT.png beside it
"""

import json
import os
import sys

try:
    import matplotlib
except ImportError:
    sys.exit("relay_kill_plot: python3-matplotlib is missing: scripts/setup installs it")

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)

BLUE, GREY, RED, ORANGE = "#1f5fa8", "#7b838d", "#c0392b", "#d98324"


def main():
    """Reads the report, writes the picture, says where it is."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(11, 9))
    draw_throughput(upper, report)
    draw_blackouts(lower, report)
    streams = report["streams"]
    figure.suptitle(f"{report['name']}: {streams['count']} TCP connections through the relay, {streams['failed']} failed; "
                    f"{report['blackouts']['kill']['events']} owners killed (kill -9)", fontsize=13)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    path = os.path.splitext(sys.argv[1])[0] + ".png"
    figure.savefig(path, dpi=110)
    print(path)


def draw_throughput(axes, report):
    """Bytes delivered to both ends of all connections, in bins."""
    throughput = report["throughput"]
    bin_ms, first = throughput["bin_ms"], throughput["from_ms"]
    times = [first + bin_ms * index for index in range(len(throughput["median_bytes"]))]
    for field, colour, width, label in (
            ("example_bytes", GREY, 1.0, f"one of them ({throughput['example'].split(',')[0]})"),
            ("median_bytes", BLUE, 1.6, f"median of {throughput['events']} deaths")):
        values = [value / 1000 for value in throughput[field]]
        peak = max(values)
        label += f"; peak {peak:.0f} kB at {times[values.index(peak)]:.0f} ms"
        axes.step(times, values, where="post", color=colour, linewidth=width, label=label)
    axes.axvline(0, color=RED, linewidth=1.2, label="kill -9")
    axes.axvline(report["detection_ms"], color=ORANGE, linewidth=1.2, linestyle="--",
                 label=f"detection time ({report['detection_ms']:g} ms)")
    axes.set_title("Throughput across a death: bytes delivered at both ends, all connections", fontsize=11)
    axes.set_xlabel("ms after the kill (the dead member is started again after 1500 ms)")
    axes.set_ylabel(f"kB in {bin_ms:g} ms")
    axes.set_xlim(times[0], times[-1] + bin_ms)
    # What is made up for after a death comes in a peak: it is told in the legend, and would flatten everything else.
    usual = [value for time, value in zip(times, throughput["example_bytes"]) if time < 0]
    axes.set_ylim(0, max(3.5 * sum(usual) / len(usual) / 1000, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=9, framealpha=0.95)


def draw_blackouts(axes, report):
    """How many connections waited for how long, after deaths and after returns."""
    limits = report["limits"]
    kinds = (("kill", BLUE, "after a death"), ("moves", ORANGE, "after a return"),
             ("calm", GREY, "in the half second before"))
    for kind, colour, what in kinds:
        blackouts = report["blackouts"].get(kind)
        if not blackouts or not blackouts["touched"]:
            continue
        histogram = blackouts["histogram"]
        width = histogram["bin_ms"]
        edges = [histogram["from_ms"] + width * index for index in range(len(histogram["counts"]) + 1)]
        label = (f"{what}: {blackouts['touched']} connections waited, {blackouts['untouched']} did not; median "
                 f"{blackouts['median_ms']:.0f} ms, worst {blackouts['worst_ms']:.0f} ms")
        # Deaths are what this is about: they are the body, the others lines before it.
        body = {"fill": True, "alpha": 0.6} if kind == "kill" else {"fill": False, "linewidth": 1.8}
        axes.stairs(histogram["counts"], edges, baseline=0.7, color=colour, label=label, **body)
    axes.axvline(limits["median_ms"], color="black", linestyle="--", linewidth=1.2,
                 label=f"limit of the median: {limits['median_ms']:g} ms")
    axes.axvline(limits["worst_ms"], color=RED, linestyle="--", linewidth=1.2,
                 label=f"limit of the worst: {limits['worst_ms']:g} ms")
    axes.set_title("Blackouts: the largest delay of a connection's data, per connection and event", fontsize=11)
    axes.set_xlabel("ms")
    axes.set_ylabel("connections (logarithmic)")
    axes.set_yscale("log")
    # Room for the legend above the bars.
    axes.set_ylim(0.7, 60 * axes.get_ylim()[1])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=9)


if __name__ == "__main__":
    main()
