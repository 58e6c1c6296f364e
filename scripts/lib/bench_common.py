"""What all benchmarks have in common: commands that must succeed, figures of several rounds, reports."""

import json
import statistics
import subprocess
import sys


class Failed(Exception):
    """Something could not be measured; the message says what."""


def run(argv, what=None, **more):
    """Runs a command that must succeed; answers what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{what or ' '.join(argv)}: {(done.stdout + done.stderr).strip()[-800:]}")
    return done.stdout


def spread(values):
    """Least, median, most."""
    return f"{min(values):.2f}/{statistics.median(values):.2f}/{max(values):.2f}"


def save(results, path):
    """Writes all objects for a machine, if there is a path."""
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
            file.write("\n")


def finish(main):
    """Runs a benchmark's main, and ends the program as that ends."""
    try:
        main()
    except (Failed, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
