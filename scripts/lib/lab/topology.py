"""Bridges, members' ports and hosts.

             client (hosts outside)                    server (hosts inside)
                   |                                          |
    ===== bridge `outside` =====            ===== bridge `inside` =====        all three bridges stand in the lab's own
        |        |        |                     |        |        |           ("switch") network namespace; the port of
       m1-o     m2-o     m3-o                  m1-i     m2-i     m3-i          member m1 on bridge `outside` is `m1-o`
        |        |        |                     |        |        |
      [ m1 ]   [ m2 ]   [ m3 ]  ---- m1-c, m2-c, m3-c: bridge `cluster`

Each member is a network namespace with interfaces o and i (given to DPDK: the kernel must be silent on them, for the packet
socket behind the port also sees what the kernel sends) and c (the cluster link: an ordinary kernel interface).

Checksum offload is off at both ends of every veth: a packet socket would see the unfinished sums and the 64 KB frames that
offload leaves to a NIC which does not exist. Bridges neither snoop multicast nor pass frames to iptables.
"""

from .state import LabError

#: Port name -> (bridge, interface in the member's namespace, number in its MAC address).
PORTS = {"outside": ("outside", "o", 1), "inside": ("inside", "i", 2), "cluster": ("cluster", "c", 3)}
#: Side of the cluster -> (IPv4 prefix /24, IPv6 prefix /64).
SIDES = {"outside": ("10.2.0.", "fd00:2::"), "inside": ("10.3.0.", "fd00:3::")}
LINK_PREFIX = "10.9.0."
CLUSTER_HOST = 10
FIRST_HOST = 100
#: Hosts' addresses on a side, in steps: so many hosts can be there with so many addresses each.
HOST_BLOCK = 64
MEMBERS_MAX = 32


def member_host(number):
    """The last part of a member's unit addresses: its number, but .10 is the cluster's."""
    return number if number < CLUSTER_HOST else number + CLUSTER_HOST


def member_port(name, port):
    """The switch's end of a member's port."""
    return f"{name}-{PORTS[port][1]}"


def switch_script():
    """Makes the three bridges."""
    lines = ["sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || :"]
    for bridge, _, _ in PORTS.values():
        lines += [
            f"ip link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"sysctl -qw net.ipv6.conf.{bridge}.disable_ipv6=1",
            f"ip link set {bridge} up",
        ]
    return "\n".join(lines)


def member_script(name, number):
    """Makes one member's namespace and its three ports."""
    lines = [f"ip netns add {name}", f"ip -n {name} link set lo up"]
    for port, (bridge, interface, digit) in PORTS.items():
        outer = member_port(name, port)
        lines += [
            f"ip link add {outer} type veth peer name {interface} netns {name}",
            f"sysctl -qw net.ipv6.conf.{outer}.disable_ipv6=1",
            f"ip netns exec {name} sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=1",
            f"ip -n {name} link set {interface} address 02:00:00:00:{digit:02x}:{number:02x}",
            f"ethtool -K {outer} tx off >/dev/null",
            f"ip netns exec {name} ethtool -K {interface} tx off gro off >/dev/null",
            f"ip link set {outer} master {bridge} up",
        ]
        if port == "cluster":
            lines += [
                f"ip -n {name} addr add {LINK_PREFIX}{member_host(number)}/24 dev {interface}",
                f"ip -n {name} link set {interface} up",
                f"ip -n {name} route add 224.0.0.0/4 dev {interface}",
            ]
        else:
            lines.append(f"ip -n {name} link set {interface} arp off up")
    return "\n".join(lines)


def host_addresses(side, index, count):
    """The addresses of the side's `index`-th host: IPv4 and IPv6 in pairs."""
    if side not in SIDES:
        raise LabError(f"'{side}' is no side: use outside or inside")
    first = FIRST_HOST + index * HOST_BLOCK
    if count < 1 or count > HOST_BLOCK or first + count > 255:
        raise LabError(f"no room for {count} more addresses {side}: 64 a host, two hosts a side")
    four, six = SIDES[side]
    return [(f"{four}{n}", f"{six}{n}") for n in range(first, first + count)]


def host_script(name, side, addresses):
    """Makes a host: a namespace with one interface, its addresses, and the cluster as its way to the other side."""
    other = "inside" if side == "outside" else "outside"
    outer = f"{name}-0"
    lines = [
        f"ip netns add {name}",
        f"ip -n {name} link set lo up",
        f"ip link add {outer} type veth peer name e0 netns {name}",
        f"sysctl -qw net.ipv6.conf.{outer}.disable_ipv6=1",
        f"ip netns exec {name} sysctl -qw net.ipv6.conf.e0.accept_dad=0 net.ipv6.conf.e0.router_solicitations=0",
        f"ethtool -K {outer} tx off >/dev/null",
        f"ip netns exec {name} ethtool -K e0 tx off gro off >/dev/null",
        f"ip link set {outer} master {side} up",
        f"ip -n {name} link set e0 up",
    ]
    for four, six in addresses:
        lines.append(f"ip -n {name} addr add {four}/24 dev e0")
        lines.append(f"ip -n {name} addr add {six}/64 dev e0 nodad")
    for mine, theirs in zip(SIDES[side], SIDES[other]):
        suffix = "0/24" if "." in theirs else "/64"
        source = addresses[0][0] if "." in theirs else addresses[0][1]
        lines.append(f"ip -n {name} route add {theirs}{suffix} via {mine}{CLUSTER_HOST} dev e0 src {source}")
    return "\n".join(lines)
