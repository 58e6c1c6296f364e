"""A download by `curl` through a relay: the connection that is to outlive the member it ends on."""

from lab.state import LabError

from .fetch import CURL, PORT, Fetch
from .traffic import Traffic

#: A member that owns the connection is found by trying the client's port numbers from here on.
FIRST_PORT = 20_000


def relay_config(family, cluster, server):
    """The relay, as configuration of all members."""
    both = (cluster, server) if family == 4 else (f"[{cluster}]", f"[{server}]")
    return f'[[relay]]\nname = "web"\nlisten = "{both[0]}:{PORT}"\nbackend = ["{both[1]}:{PORT}"]\n'


class Download(Fetch):
    """From the client's address `source`, on a port that makes its owner one of the members `wanted`."""

    def __init__(self, lab, web, source, cluster, owner_of, wanted):
        self.source, self.cluster, self.owner_of = source, cluster, owner_of
        self.port = next((port for port in range(FIRST_PORT, FIRST_PORT + 200) if self.owner(port) in wanted), None)
        if self.port is None:
            raise LabError(f"none of 200 connections would belong to one of {wanted}")
        chosen = ["--interface", source, "--local-port", str(self.port)]
        super().__init__(web, "demo", "the download through the relay",
                         lambda url: Traffic.start(lab, "client", [*CURL, *chosen, url]), cluster)

    def owner(self, port=None):
        """The number of the member that owns the connection, or would."""
        return self.owner_of(self.source, port or self.port, self.cluster, PORT)
