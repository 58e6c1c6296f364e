"""Another implementation of IKEv2's messages, to hold ours against: scapy's.

Reads one JSON object a line and answers each with one: {"answer": …} or {"error": text}.
  {"build": message}  the answer is the message's bytes as scapy writes them
  {"read": hex}       the answer is the message as scapy reads it
A message is {"header": {…}, "payloads": [{"is": name, …}]}, bytes are hex; the fields are those of `described.rs`.

What Debian's scapy gets wrong is set right here: lengths that it takes from fields that are not there (names,
configuration) or not given (proposals with an SPI), notifications with an SPI, and which bit says that a payload is
critical.
"""

import json
import socket
import struct
import sys

from scapy.contrib import ikev2
from scapy.fields import StrLenField
from scapy.packet import Raw

INITIATOR, RESPONSE = 0x08, 0x20
CRITICAL = 0x80
KINDS = dict(sa=33, ke=34, idi=35, idr=36, cert=37, certreq=38, auth=39, nonce=40, notify=41, delete=42)
KINDS |= dict(vendor=43, tsi=44, tsr=45, sealed=46, cp=47, eap=48, fragment=53)
NAMES = {kind: name for name, kind in KINDS.items()}
# Which attributes scapy takes for addresses, by their length.
CP_ADDRESSES = {4: (1, 2, 3, 4, 6, 20), 16: (10, 12, 21)}


def repair():
    fields = ikev2.IKEv2_payload_Notify.fields_desc
    fields[-1] = StrLenField("load", "", length_from=lambda it: it.length - 8 - it.SPIsize)


def text(address):
    """Bytes as scapy has addresses."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def plain(value):
    """Bytes of a field that may be an address."""
    return (packed(value) if isinstance(value, str) else bytes(value)).hex()


# Building.


def chain(parts):
    whole = parts[0]
    for part in parts[1:]:
        whole = whole / part
    return whole


def build_transform(it, more):
    fields = {} if it["key_bits"] is None else {"length": 12, "key_length": it["key_bits"]}
    return ikev2.IKEv2_payload_Transform(
        next_payload=3 if more else 0, transform_type=it["kind"], transform_id=it["id"], **fields
    )


def build_proposal(it, more):
    spi, count = bytes.fromhex(it["spi"]), len(it["transforms"])
    return ikev2.IKEv2_payload_Proposal(
        next_payload=2 if more else 0,
        proposal=it["number"],
        proto=it["protocol"],
        SPI=spi,
        SPIsize=len(spi),
        trans_nb=count,
        trans=chain([build_transform(one, at + 1 < count) for at, one in enumerate(it["transforms"])]),
    )


def build_sa(it):
    last = len(it["proposals"]) - 1
    proposals = [build_proposal(one, at < last) for at, one in enumerate(it["proposals"])]
    return ikev2.IKEv2_payload_SA(prop=chain(proposals))


def build_id(kind):
    def build(it):
        data = bytes.fromhex(it["data"])
        value = text(data) if it["kind"] in (1, 5) else data
        return kind(IDtype=it["kind"], ID=value, length=8 + len(data))

    return build


def build_selector(it):
    kind, suffix = (ikev2.IPv6TrafficSelector, "6") if ":" in it["low"] else (ikev2.IPv4TrafficSelector, "4")
    return kind(
        IP_protocol_ID=it["protocol"],
        length=40 if suffix == "6" else 16,
        start_port=it["ports"][0],
        end_port=it["ports"][1],
        **{"starting_address_v" + suffix: it["low"], "ending_address_v" + suffix: it["high"]},
    )


def build_selectors(kind):
    return lambda it: kind(traffic_selector=[build_selector(one) for one in it["selectors"]])


def build_attribute(it):
    value = bytes.fromhex(it["value"])
    is_address = it["kind"] in CP_ADDRESSES.get(len(value), ())
    return ikev2.ConfigurationAttribute(
        type=it["kind"], length=len(value), value=text(value) if is_address else value
    )


def build_cp(it):
    attributes = [build_attribute(one) for one in it["attributes"]]
    return ikev2.IKEv2_payload_CP(
        CFGType=it["kind"], length=8 + sum(len(bytes(one)) for one in attributes), attributes=attributes
    )


def build_delete(it):
    spis = it["spis"]
    head = struct.pack("!BBH", it["protocol"], 4 if spis else 0, len(spis))
    return ikev2.IKEv2_payload_Delete(vendorID=head + struct.pack("!%dI" % len(spis), *spis))


def build_notify(it):
    spi, data = bytes.fromhex(it["spi"]), bytes.fromhex(it["data"])
    return ikev2.IKEv2_payload_Notify(
        proto=it["protocol"], SPI=spi, type=it["kind"], load=data, length=8 + len(spi) + len(data)
    )


def build_fragment(it):
    return ikev2.IKEv2_payload_Encrypted_Fragment(
        frag_number=it["number"], frag_total=it["total"], load=bytes.fromhex(it["data"])
    )


def of_data(kind, field, **others):
    """A payload that is bytes, and numbers under scapy's names for ours."""
    return lambda it: kind(**{field: bytes.fromhex(it["data"])} | {theirs: it[ours] for ours, theirs in others.items()})


BUILD = dict(
    sa=build_sa,
    ke=of_data(ikev2.IKEv2_payload_KE, "load", group="group"),
    idi=build_id(ikev2.IKEv2_payload_IDi),
    idr=build_id(ikev2.IKEv2_payload_IDr),
    cert=of_data(ikev2.IKEv2_payload_CERT_STR, "cert_data", encoding="cert_type"),
    certreq=of_data(ikev2.IKEv2_payload_CERTREQ, "cert_data", encoding="cert_type"),
    auth=of_data(ikev2.IKEv2_payload_AUTH, "load", method="auth_type"),
    nonce=of_data(ikev2.IKEv2_payload_Nonce, "load"),
    notify=build_notify,
    delete=build_delete,
    vendor=of_data(ikev2.IKEv2_payload_VendorID, "vendorID"),
    tsi=build_selectors(ikev2.IKEv2_payload_TSi),
    tsr=build_selectors(ikev2.IKEv2_payload_TSr),
    cp=build_cp,
    eap=of_data(ikev2.IKEv2_payload, "load"),
    unknown=lambda it: ikev2.IKEv2_payload(flags=CRITICAL if it["critical"] else 0),
    sealed=of_data(ikev2.IKEv2_payload_Encrypted, "load"),
    fragment=build_fragment,
)


def build(message):
    header, payloads = message["header"], message["payloads"]
    kinds = [KINDS.get(it["is"]) or it["kind"] for it in payloads]
    flags = (INITIATOR if header["from_initiator"] else 0) | (RESPONSE if header["response"] else 0)
    packet = ikev2.IKEv2(
        init_SPI=bytes.fromhex(header["spis"][0]),
        resp_SPI=bytes.fromhex(header["spis"][1]),
        exch_type=header["exchange"],
        flags=flags,
        id=header["message_id"],
        next_payload=kinds[0] if kinds else 0,
    )
    # The sealing payload names the first one that it seals.
    for it, following in zip(payloads, kinds[1:] + [0]):
        part = BUILD[it["is"]](it)
        part.next_payload = it.get("first", following)
        packet = packet / part
    return bytes(packet).hex()


# Reading.


def layers(packet):
    while packet and not isinstance(packet, Raw):
        yield packet
        packet = packet.payload
    if packet:
        raise ValueError(f"scapy has bytes left: {bytes(packet).hex()}")


def read_transform(it):
    key_bits = it.key_length & 0xFFFF if it.length > 8 else None
    return dict(kind=it.transform_type, id=it.transform_id, key_bits=key_bits)


def read_proposal(it):
    transforms = [read_transform(one) for one in layers(it.trans)]
    if len(transforms) != it.trans_nb:
        raise ValueError(f"{it.trans_nb} transforms are said to be {len(transforms)}")
    return dict(number=it.proposal, protocol=it.proto, spi=it.SPI.hex(), transforms=transforms)


def read_selector(it):
    suffix = "4" if it.TS_type == 7 else "6"
    low, high = getattr(it, "starting_address_v" + suffix), getattr(it, "ending_address_v" + suffix)
    return dict(protocol=it.IP_protocol_ID, ports=[it.start_port, it.end_port], low=low, high=high)


def read_selectors(it):
    if it.number_of_TSs != len(it.traffic_selector):
        raise ValueError("the number of selectors is wrong")
    return dict(selectors=[read_selector(one) for one in it.traffic_selector])


def read_delete(it):
    protocol, spi_len, count = struct.unpack("!BBH", it.vendorID[:4])
    if spi_len != (4 if count else 0):
        raise ValueError("the length of SPIs is wrong")
    return dict(protocol=protocol, spis=list(struct.unpack("!%dI" % count, it.vendorID[4:])))


def read_id(it):
    return dict(kind=it.IDtype, data=plain(it.ID))


READ = dict(
    sa=lambda it: dict(proposals=[read_proposal(one) for one in layers(it.prop)]),
    ke=lambda it: dict(group=it.group, data=it.load.hex()),
    idi=read_id,
    idr=read_id,
    cert=lambda it: dict(encoding=it.cert_type, data=it.cert_data.hex()),
    certreq=lambda it: dict(encoding=it.cert_type, data=it.cert_data.hex()),
    auth=lambda it: dict(method=it.auth_type, data=it.load.hex()),
    nonce=lambda it: dict(data=it.load.hex()),
    notify=lambda it: dict(protocol=it.proto, spi=it.SPI.hex(), kind=it.type, data=it.load.hex()),
    delete=read_delete,
    vendor=lambda it: dict(data=it.vendorID.hex()),
    tsi=read_selectors,
    tsr=read_selectors,
    cp=lambda it: dict(
        kind=it.CFGType, attributes=[dict(kind=one.type, value=plain(one.value)) for one in it.attributes]
    ),
    eap=lambda it: dict(data=it.load.hex()),
    sealed=lambda it: dict(first=it.next_payload, data=it.load.hex()),
    fragment=lambda it: dict(first=it.next_payload, number=it.frag_number, total=it.frag_total, data=it.load.hex()),
)


def read_payload(kind, it):
    name = NAMES.get(kind)
    if name is None:
        return {"is": "unknown", "kind": kind, "critical": bool(int(it.flags) & CRITICAL)}
    return {"is": name} | READ[name](it)


def read(message):
    packet = ikev2.IKEv2(message)
    if packet.version != 0x20 or packet.length != len(message):
        raise ValueError("scapy sees another version, or another length")
    flags = int(packet.flags)
    header = dict(
        spis=[packet.init_SPI.hex(), packet.resp_SPI.hex()],
        exchange=packet.exch_type,
        from_initiator=bool(flags & INITIATOR),
        response=bool(flags & RESPONSE),
        message_id=packet.id,
    )
    payloads, kind = [], packet.next_payload
    for it in layers(packet.payload):
        payloads.append(read_payload(kind, it))
        kind = it.next_payload
        if "first" in payloads[-1]:
            break
    return dict(header=header, payloads=payloads)


def main():
    repair()
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = build(task["build"]) if "build" in task else read(bytes.fromhex(task["read"]))
            print(json.dumps({"answer": answer}), flush=True)
        except Exception as error:  # whatever it is, the other side has to hear of it
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    main()
