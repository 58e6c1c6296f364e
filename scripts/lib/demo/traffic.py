"""The traffic generator's two processes, in the lab's `client` and `server` hosts."""

import contextlib
import json
import os
import select
import subprocess
import time

from lab import product
from lab.state import LabError

#: The generator's real-time priority: below the members', above everything else, so that it measures them and not itself.
PRIORITY = ["chrt", "--fifo", "5"]


class Traffic:
    """Traffic from the client to the server, from start to report."""

    def __init__(self, lab, server, sources, ping_sources, seconds):
        program = product.target_file("traffic")
        if not os.access(program, os.X_OK):
            raise LabError(f"{program} does not exist: run scripts/setup")
        self.report_path = lab.path("traffic.json")
        self.server = self.start(lab, "server", [program, "server"])
        self.await_line(self.server, "listening", 5)
        argv = [program, "run", "--server", server, "--seconds", str(seconds), "--report", self.report_path]
        for source in sources:
            argv += ["--source", source]
        for source in ping_sources:
            argv += ["--ping-source", source]
        self.client = self.start(lab, "client", argv)
        self.began = time.monotonic()

    @staticmethod
    def start(lab, host, argv):
        """Starts a process in a host. It ends with this one."""
        return subprocess.Popen(lab.enter(host) + PRIORITY + argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @staticmethod
    def await_line(process, wanted, seconds):
        """Waits until the process says a certain line."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
            line = process.stdout.readline().decode() if ready else ""
            if line.strip() == wanted:
                return
            if ready and not line:
                break
        raise LabError(f"the traffic generator did not say '{wanted}' within {seconds} s: no traffic gets through")

    def await_ready(self, seconds=15):
        """Waits until every kind of traffic has been answered."""
        self.await_line(self.client, "ready", seconds)

    def mark(self, what):
        """Notes in the report that something happens now."""
        self.say(f"mark {what}")
        self.await_line(self.client, f"marked {what}", 5)

    def say(self, line):
        """A line to the generator."""
        try:
            self.client.stdin.write(line.encode() + b"\n")
            self.client.stdin.flush()
        except BrokenPipeError:
            raise LabError("the traffic generator has died") from None

    def finish(self):
        """Ends the traffic; the report."""
        self.say("stop")
        try:
            code = self.client.wait(timeout=30)
        except subprocess.TimeoutExpired:
            raise LabError("the traffic generator does not end") from None
        if code != 0:
            raise LabError(f"the traffic generator failed ({code})")
        with open(self.report_path, encoding="utf-8") as file:
            return json.load(file)

    def kill(self):
        """Ends both processes, whatever they do."""
        for process in (self.client, self.server):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
