"""A download by `curl` through a relay: the connection that is to outlive the member it ends on.

The source is a web server inside that sends a stream until it is told to stop, and then says how many bytes it was and what their
SHA-256 is. `curl`'s output is read here: when each piece came, and the same two figures.
"""

import hashlib
import os
import threading
import time

from lab import product
from lab.state import LabError, await_true

from .traffic import Traffic

PORT = 7805
BYTES_PER_S = 500_000
#: A member that owns the connection is found by trying the client's port numbers from here on.
FIRST_PORT = 20_000
#: A piece comes every 50 ms: a standstill is what exceeds this in the window after an event.
WINDOW_SECONDS = 3


def relay_config(family, cluster, server):
    """The relay, as configuration of all members."""
    both = (cluster, server) if family == 4 else (f"[{cluster}]", f"[{server}]")
    return f'[[relay]]\nname = "web"\nlisten = "{both[0]}:{PORT}"\nbackend = ["{both[1]}:{PORT}"]\n'


class Download:
    """One download, from start to checksum."""

    def __init__(self, lab, source, cluster, owner_of, wanted):
        """From the client's address `source`, on a port that makes its owner one of the members `wanted`."""
        self.source, self.cluster, self.owner_of = source, cluster, owner_of
        self.directory = lab.path("download")
        os.makedirs(self.directory)
        self.stop_file = os.path.join(self.directory, "stop")
        self.port = next((port for port in range(FIRST_PORT, FIRST_PORT + 200) if self.owner(port) in wanted), None)
        if self.port is None:
            raise LabError(f"none of 200 connections would belong to one of {wanted}")
        #: (seconds, bytes so far) for each piece that `curl` has written.
        self.progress = [(time.monotonic(), 0)]
        self.digest = hashlib.sha256()
        self.web = Traffic.start(lab, "server", [product.target_file("traffic"), "web", "--port", str(PORT), "--dir",
                                                 self.directory, "--until", self.stop_file])
        Traffic.await_line(self.web, f"listening on [::]:{PORT}", 5)
        host = f"[{cluster}]" if ":" in cluster else cluster
        self.curl = Traffic.start(lab, "client", [
            "curl", "--silent", "--show-error", "--fail", "--no-buffer", "--globoff", "--interface", source, "--local-port",
            str(self.port), "--limit-rate", str(4 * BYTES_PER_S), "--max-time", "300",
            f"http://{host}:{PORT}/source/demo?seed=1&bytes_per_s={BYTES_PER_S}"])
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not await_true(lambda: self.bytes() > 0, 10, interval=0.05):
            raise LabError("the download through the relay does not begin: nothing came within 10 s")

    def owner(self, port=None):
        """The number of the member that owns the connection, or would."""
        return self.owner_of(self.source, port or self.port, self.cluster, PORT)

    def read(self):
        """Takes what `curl` writes, until it ends."""
        while piece := os.read(self.curl.stdout.fileno(), 1 << 16):
            self.digest.update(piece)
            self.progress.append((time.monotonic(), self.bytes() + len(piece)))

    def bytes(self):
        """So many have come."""
        return self.progress[-1][1]

    def standstill_ms(self, since):
        """The longest time without a byte that ended within the window after `since`, and began before its end."""
        progress = list(self.progress) + [(time.monotonic(), self.bytes())]
        gaps = [after - before for (before, _), (after, _) in zip(progress, progress[1:])
                if after > since and before < since + WINDOW_SECONDS]
        return round(1000 * max(gaps, default=0), 1)

    def finish(self):
        """Ends the stream; what came, and whether it is what was sent."""
        with open(self.stop_file, "w", encoding="ascii"):
            pass
        self.reader.join(timeout=20)
        code = None if self.reader.is_alive() else self.curl.wait(timeout=5)
        with open(os.path.join(self.directory, "demo.in"), encoding="ascii") as file:
            sent = file.read().split()
        received = [f"{self.bytes():020}", self.digest.hexdigest()]
        return {"bytes": self.bytes(), "sha256": received[1], "source_bytes": int(sent[0]),
                "source_sha256": sent[1] if len(sent) > 1 else None, "curl_exit": code,
                "intact": code == 0 and self.bytes() > 0 and sent == received}

    def kill(self):
        """Ends both processes, whatever they do."""
        for process in (self.curl, self.web):
            process.kill()
            process.wait()
