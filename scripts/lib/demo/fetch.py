"""`curl`, fetching a stream from a web server inside that sends until it is told to stop, and then says how many bytes it was and what
their SHA-256 is. `curl`'s output is read here: when each piece came, and the same two figures.
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
#: A piece comes every 50 ms: a standstill is what exceeds this in the window after an event.
WINDOW_SECONDS = 3
#: What every `curl` is told.
CURL = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", "--globoff", "--limit-rate", str(4 * BYTES_PER_S),
        "--max-time", "300"]


class Web:
    """The server of all streams of a run."""

    def __init__(self, lab):
        self.directory = lab.path("download")
        os.makedirs(self.directory)
        self.stop_file = os.path.join(self.directory, "stop")
        self.process = Traffic.start(lab, "server", [product.target_file("traffic"), "web", "--port", str(PORT), "--dir",
                                                     self.directory, "--until", self.stop_file])
        Traffic.await_line(self.process, f"listening on [::]:{PORT}", 5)

    def stop(self):
        """Ends all streams."""
        with open(self.stop_file, "w", encoding="ascii"):
            pass

    def sent(self, stream):
        """How much of a stream was sent, and its SHA-256."""
        with open(os.path.join(self.directory, f"{stream}.in"), encoding="ascii") as file:
            return file.read().split()

    def kill(self):
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.wait()


class Fetch:
    """One stream, from its first byte to its checksum."""

    def __init__(self, web, stream, what, start, host):
        """`start` starts a command where the stream is to arrive; `host` is whom it is asked of."""
        self.web, self.stream = web, stream
        #: (seconds, bytes so far) for each piece that `curl` has written.
        self.progress = [(time.monotonic(), 0)]
        self.digest = hashlib.sha256()
        named = f"[{host}]" if ":" in host else host
        self.curl = start(f"http://{named}:{PORT}/source/{stream}?seed=1&bytes_per_s={BYTES_PER_S}")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not await_true(lambda: self.bytes() > 0, 10, interval=0.05):
            raise LabError(f"{what} does not begin: nothing came within 10 s")

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
        """What came, and whether it is what was sent. To be called after the streams were ended."""
        self.reader.join(timeout=20)
        code = None if self.reader.is_alive() else self.curl.wait(timeout=5)
        sent = self.web.sent(self.stream)
        received = [f"{self.bytes():020}", self.digest.hexdigest()]
        return {"bytes": self.bytes(), "sha256": received[1], "source_bytes": int(sent[0]),
                "source_sha256": sent[1] if len(sent) > 1 else None, "curl_exit": code,
                "intact": code == 0 and self.bytes() > 0 and sent == received}

    def kill(self):
        """Ends it, whatever it does."""
        self.curl.kill()
        self.curl.wait()
