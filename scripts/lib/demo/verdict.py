"""What a run must have been, and the report of one or several."""

import statistics

#: A single blackout may be this much longer than the configured detection time; the median of several runs only so much.
WORST_MS = 300
MEDIAN_MS = 50
#: Between hosts whose own TCP it is, a download may stand still for longer: what is lost in a blackout is sent again after 200 ms,
#: and, if that was lost as well, after 400 more. How long the cluster was silent, the pings say.
BACKOFF_MS = 600
#: The events whose blackouts count.
BLACKOUTS = ("owner_killed", "tunnel_owner_killed", "master_killed", "drain")


def run_report(story, traffic):
    """One run as the report has it."""
    blackouts = {event["what"]: event["blackout_ms"] for event in traffic["events"] if event["what"] in BLACKOUTS}
    by_probe = {event["what"]: event["blackout_ms_by_probe"] for event in traffic["events"]}
    report = {
        "members": len(story.carried), "mode": story.mode, "family": story.family,
        "events": [{"t_ms": event["t_ms"], "what": event["what"]} for event in traffic["events"]],
        "tcp_connections": traffic["tcp"]["attempted"], "tcp_failed": traffic["tcp"]["failed"],
        "tcp_failures": traffic["tcp"]["failures"][:20],
        "download_bytes": traffic["download"]["bytes"], "download_intact": traffic["download"]["intact"],
        "download_why": traffic["download"]["why"], "relay_download": story.relayed, "vpn_download": story.tunnelled,
        "blackout_ms": blackouts, "blackout_ms_by_probe": by_probe, "duplicates": traffic["duplicates"],
        "detection_ms": story.detection_ms, "adaptive_n": story.adaptive_n, "healthy": bool(story.healthy),
        "packets": {story.name(number): packets for number, packets in story.carried.items()},
    }
    report["problems"] = problems(report)
    return report


def problems(report):
    """Everything that must not be in one run."""
    found = []
    if report["tcp_connections"] == 0:
        found.append("there was no TCP connection")
    if report["tcp_failed"]:
        first = report["tcp_failures"][0]["why"]
        found.append(f"{report['tcp_failed']} of {report['tcp_connections']} TCP connections failed (the first: {first})")
    if not report["download_intact"]:
        found.append(f"the download is not intact: {report['download_why']}")
    limit = report["detection_ms"] + WORST_MS
    found += download_problems("the download through the relay", report["relay_download"], limit)
    found += download_problems("the download through the tunnel", report["vpn_download"], limit + BACKOFF_MS)
    found += tunnel_problems(report["vpn_download"], limit + BACKOFF_MS)
    if report["duplicates"]:
        found.append(f"{report['duplicates']} probes were answered more than once")
    idle = [name for name, packets in report["packets"].items() if packets == 0]
    if idle:
        found.append(f"{', '.join(idle)} carried no traffic")
    limit = report["detection_ms"] + WORST_MS
    for what in BLACKOUTS:
        blackout = report["blackout_ms"].get(what)
        if blackout is None:
            found.append(f"{what} did not happen")
        elif blackout > limit:
            found.append(f"{blackout:g} ms without an answer around {what}, more than {limit:g} ms")
    if not report["healthy"]:
        found.append("not all members were healthy at the end")
    return found


def download_problems(what, download, limit):
    """What must not be of a download whose owner was killed."""
    found = []
    if not download.get("intact"):
        found.append(f"{what} is not intact: {download}")
    if download.get("heir") in (None, download.get("owner")):
        found.append(f"nobody took over {what} from {download.get('owner')}")
    if download.get("bytes_after", 0) <= download.get("bytes_at_kill", 0):
        found.append(f"{what} did not go on after its owner's death")
    if download.get("standstill_ms", 0) > limit:
        found.append(f"{what} stood still for {download['standstill_ms']:g} ms, more than {limit:g} ms")
    return found


def tunnel_problems(tunnelled, limit):
    """What must not be of a tunnel, besides."""
    found = []
    if not tunnelled.get("same_tunnel"):
        found.append("the VPN client has shaken hands again: its SPIs are others")
    if tunnelled.get("bytes_after_master", 0) <= 0:
        found.append("the download through the tunnel did not go on after the master's death")
    if tunnelled.get("master_standstill_ms", 0) > limit:
        found.append(f"the download through the tunnel stood still for {tunnelled['master_standstill_ms']:g} ms at the master's "
                     f"death, more than {limit:g} ms")
    return found


def whole_report(runs):
    """The report: of a single run that run's, of several their sums and worst, with each run in `runs`."""
    report = dict(runs[-1])
    if len(runs) == 1:
        return report
    report["runs"] = runs
    for field in ("tcp_connections", "tcp_failed", "duplicates", "download_bytes"):
        report[field] = sum(run[field] for run in runs)
    report["download_intact"] = all(run["download_intact"] for run in runs)
    report["healthy"] = all(run["healthy"] for run in runs)
    for which in ("relay_download", "vpn_download"):
        report[which] = max((run[which] for run in runs), key=lambda one: one.get("standstill_ms", 0))
    report["adaptive_n"] = max(run["adaptive_n"] for run in runs)
    report["problems"] = [f"run {number}: {problem}" for number, run in enumerate(runs, 1) for problem in run["problems"]]
    report["blackout_median_ms"] = {}
    for what in BLACKOUTS:
        values = [run["blackout_ms"][what] for run in runs if what in run["blackout_ms"]]
        if not values:
            continue
        report["blackout_ms"] = dict(report["blackout_ms"], **{what: max(values)})
        median = report["blackout_median_ms"][what] = statistics.median(values)
        limit = report["detection_ms"] + MEDIAN_MS
        if median > limit:
            report["problems"].append(f"the median blackout of {what}, {median:g} ms, is more than {limit:g} ms")
    return report
