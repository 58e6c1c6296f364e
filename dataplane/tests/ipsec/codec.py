"""Another implementation of ESP and AH, to hold ours against: scapy's IPsec layer.

Reads one JSON object a line and answers each with one: {"packet": hex} or {"error": text}.
  op          "seal": packet is an IP packet, the answer one with ESP or AH; "open": the other way round
  ah          whether it is AH
  crypt, auth transforms as Phalanx calls them, with crypt_key and auth_key (hex)
  spi, seq    numbers; esn: the high half of the sequence number, or null
  outer       [source, destination] of the tunnel, or null: transport mode
  nat         whether ESP goes in UDP

What Debian's scapy lacks (GMAC, XCBC, extended numbers with a separate check) is added here, on the `cryptography` package.
"""

import json
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers import ipsec
from scapy.layers.ipsec import AH, ESP, SecurityAssociation, zero_mutable_fields


class Xcbc:
    """AES-XCBC-MAC (RFC 3566)."""

    def __init__(self, key):
        derived = [self.encrypt(key, bytes([number]) * 16) for number in (1, 2, 3)]
        self.key, self.whole, self.short = derived
        self.data = b""

    @staticmethod
    def encrypt(key, block):
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return encryptor.update(block) + encryptor.finalize()

    def update(self, data):
        self.data += data

    def finalize(self):
        blocks = [self.data[at : at + 16] for at in range(0, max(len(self.data), 1), 16)]
        last = blocks.pop()
        mask = self.whole if len(last) == 16 else self.short
        blocks.append(xor(last if len(last) == 16 else (last + b"\x80").ljust(16, b"\0"), mask))
        state = bytes(16)
        for block in blocks:
            state = self.encrypt(self.key, xor(state, block))
        return state


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


class Auth(ipsec.AuthAlgo):
    """A check that counts the high half of the number, too."""

    esn = None

    def sign(self, pkt, key, esn_en=False, esn=0):
        if pkt.haslayer(AH):
            pkt[AH].icv = self.icv(bytes(zero_mutable_fields(pkt.copy(), sending=True)), key)
        else:
            pkt.data += self.icv(bytes(pkt), key)
        return pkt

    def verify(self, pkt, key, esn_en=False, esn=0):
        if pkt.haslayer(AH):
            # How long the ICV is, and what behind it is padding, only the SA says.
            whole = pkt[AH].icv + (pkt[AH].padding or b"")
            pkt[AH].icv, pkt[AH].padding = whole[: self.icv_size], whole[self.icv_size :]
            signed, icv = bytes(zero_mutable_fields(pkt.copy(), sending=False)), pkt[AH].icv
        else:
            signed, icv = bytes(pkt)[: -self.icv_size], bytes(pkt)[-self.icv_size :]
        if self.icv(signed, key) != icv:
            raise ipsec.IPSecIntegrityError("wrong ICV")

    def icv(self, signed, key):
        mac = Xcbc(key) if self.name == "AES-XCBC-96" else self.new_mac(key)
        mac.update(signed + (b"" if self.esn is None else struct.pack("!L", self.esn)))
        return mac.finalize()[: self.icv_size]


class Gmac(ipsec.CryptAlgo):
    """AES-GMAC (RFC 4543): hides nothing, checks all."""

    @staticmethod
    def checked(esp, iv, data, esn_en, esn):
        number = struct.pack("!LLL", esp.spi, esn, esp.seq) if esn_en else struct.pack("!LL", esp.spi, esp.seq)
        return number + iv + data

    def encrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        data = esp.data_for_encryption()
        tag = AESGCM(key).encrypt(sa.crypt_salt + esp.iv, b"", self.checked(esp, esp.iv, data, esn_en, esn))
        return ESP(spi=esp.spi, seq=esp.seq, data=esp.iv + data + tag)

    def decrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        iv, data, tag = esp.data[:8], esp.data[8:-16], esp.data[-16:]
        try:
            AESGCM(key).decrypt(sa.crypt_salt + iv, tag, self.checked(esp, iv, data, esn_en, esn))
        except InvalidTag as error:
            raise ipsec.IPSecIntegrityError(error)
        content = data[: len(data) - 2 - data[-2]]
        return ipsec._ESPPlain(spi=esp.spi, seq=esp.seq, iv=iv, data=content, padlen=data[-2], nh=data[-1], icv=tag)


CRYPT = {
    "aes128gcm16": "AES-GCM",
    "aes256gcm16": "AES-GCM",
    "aes128gmac": "GMAC",
    "aes256gmac": "GMAC",
    "chacha20poly1305": "CHACHA20-POLY1305",
    "null": "NULL",
    "aes128": "AES-CBC",
    "aes256": "AES-CBC",
    "aes128ctr": "AES-CTR",
    "aes256ctr": "AES-CTR",
    "des": "DES",
    "3des": "3DES",
}

AUTH = {
    "sha1": "HMAC-SHA1-96",
    "sha256": "SHA2-256-128",
    "sha384": "SHA2-384-192",
    "sha512": "SHA2-512-256",
    "md5": "HMAC-MD5-96",
    "aescmac": "AES-CMAC-96",
    "aesxcbc": "AES-XCBC-96",
}


def extend():
    ipsec.CRYPT_ALGOS["GMAC"] = Gmac("GMAC", cipher=None, mode=None, block_size=1, iv_size=8, salt_size=4, icv_size=16)
    known = ipsec.AUTH_ALGOS
    known["AES-XCBC-96"] = ipsec.AuthAlgo("AES-XCBC-96", mac=Xcbc, digestmod=None, icv_size=12, key_size=16)
    for name in AUTH.values():
        known[name].__class__ = Auth


def association(task):
    esn = task["esn"]
    auth = AUTH.get(task["auth"])
    if auth:
        ipsec.AUTH_ALGOS[auth].esn = esn
    tunnel = None
    if task["outer"]:
        source, destination = task["outer"]
        tunnel = IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination)
    return SecurityAssociation(
        AH if task["ah"] else ESP,
        spi=task["spi"],
        seq_num=task["seq"],
        crypt_algo=None if task["ah"] else CRYPT[task["crypt"]],
        crypt_key=bytes.fromhex(task["crypt_key"]),
        auth_algo=auth,
        auth_key=bytes.fromhex(task["auth_key"]),
        tunnel_header=tunnel,
        nat_t_header=UDP(sport=4500, dport=4500) if task["nat"] else None,
        esn_en=esn is not None,
        esn=esn or 0,
    )


def parse(packet):
    return IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)


def seal(task):
    sealed = association(task).encrypt(parse(bytes.fromhex(task["packet"])), seq_num=task["seq"])
    return bytes(sealed)


def open_(task):
    packet = parse(bytes.fromhex(task["packet"]))
    if task["nat"]:
        # Without the UDP header, for which scapy knows no way back in IPv6.
        content = bytes(packet[UDP].payload)
        packet[UDP].underlayer.remove_payload()
        packet = packet / ESP(content)
    return bytes(association(task).decrypt(packet))


def main():
    extend()
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = {"packet": (seal if task["op"] == "seal" else open_)(task).hex()}
        except Exception as error:  # whatever it is, the other side has to hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
