"""The other implementation: what phalanx-ike computes, done by Python's hmac and hashlib and by python3-cryptography.

It reads lines of words: what is to be done, then its arguments, bytes in hex ("-" for none). It answers each with a line.
Nothing of IKE's is taken from a library, and nothing was taken from the Rust code.
"""

import hashlib
import hmac
import sys

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HASHES = {"HmacSha1": "sha1", "HmacSha256": "sha256", "HmacSha384": "sha384", "HmacSha512": "sha512"}
CURVES = {"Ecp256": ec.SECP256R1(), "Ecp384": ec.SECP384R1(), "Ecp521": ec.SECP521R1()}
# The c of RFC 3526's formula.
PRIMES = {"Modp2048": (2048, 124476), "Modp3072": (3072, 1690314), "Modp4096": (4096, 240904)}


def aes(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


def xcbc(key, data):
    k1, k2, k3 = (aes(key, bytes([n]) * 16) for n in (1, 2, 3))
    blocks = [data[i : i + 16] for i in range(0, len(data), 16)] or [b""]
    last = blocks.pop()
    last = xor(last, k2) if len(last) == 16 else xor((last + b"\x80").ljust(16, b"\0"), k3)
    state = bytes(16)
    for block in blocks + [last]:
        state = aes(k1, xor(state, block))
    return state


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def prf(name, key, data):
    if name in HASHES:
        return hmac.digest(key, data, HASHES[name])
    if name == "AesXcbc":
        return xcbc(key.ljust(16, b"\0") if len(key) <= 16 else xcbc(bytes(16), key), data)
    return cmac(key if len(key) == 16 else cmac(bytes(16), key), data)


def expand(name, key, seed, length):
    stream, block, number = b"", b"", 1
    while len(stream) < length:
        block = prf(name, key, block + seed + bytes([number]))
        stream += block
        number += 1
    return stream[:length]


def skeyseed(name, shared, ni, nr):
    if name in HASHES:
        return prf(name, ni + nr, shared)
    return prf(name, ni[:8] + nr[:8], shared)


def psk(name, key, message, nonce, sk_p, identity):
    return prf(name, prf(name, key, b"Key Pad for IKEv2"), message + nonce + prf(name, sk_p, identity))


def pi(bits):
    """The first bits of pi, by Machin's formula."""
    one = 1 << (bits + 64)

    def arctan(x):
        term = total = one // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return 4 * (4 * arctan(5) - arctan(239)) >> 64


def prime(name):
    n, c = PRIMES[name]
    return 2**n - 2 ** (n - 64) - 1 + 2**64 * (pi(n - 130) + c)


def safe(name):
    """Whether Fermat finds nothing against p and (p - 1) / 2."""
    p = prime(name)
    return bytes([all(pow(base, x - 1, x) == 1 for x in (p, (p - 1) // 2) for base in (2, 3, 5, 7))])


def public(name, private):
    if name in PRIMES:
        return pow(2, int.from_bytes(private, "big"), prime(name)).to_bytes(PRIMES[name][0] // 8, "big")
    if name in CURVES:
        key = ec.derive_private_key(int.from_bytes(private, "big"), CURVES[name]).public_key()
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    return x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def agree(name, private, peer):
    if name in PRIMES:
        shared = pow(int.from_bytes(peer, "big"), int.from_bytes(private, "big"), prime(name))
        return shared.to_bytes(PRIMES[name][0] // 8, "big")
    if name in CURVES:
        key = ec.derive_private_key(int.from_bytes(private, "big"), CURVES[name])
        return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVES[name], b"\4" + peer))
    private = x25519.X25519PrivateKey.from_private_bytes(private)
    return private.exchange(x25519.X25519PublicKey.from_public_bytes(peer))


def icv(name, key, data):
    name, _, bits = name.partition("_")
    if name == "AesXcbc96":
        return xcbc(key, data)[:12]
    if name == "AesCmac96":
        return cmac(key, data)[:12]
    return hmac.digest(key, data, HASHES[name])[: int(bits) // 8]


def opened(cipher, integrity, enc_key, int_key, associated, sealed):
    """The payloads; fails if the check value is wrong."""
    if integrity == "None":
        key, nonce, rest = enc_key[:-4], enc_key[-4:] + sealed[:8], sealed[8:]
        aead = ChaCha20Poly1305(key) if cipher == "ChaCha20Poly1305" else AESGCM(key)
        clear = aead.decrypt(nonce, rest, associated)
    else:
        length = len(icv(integrity, int_key, b""))
        checked, tag = sealed[:-length], sealed[-length:]
        assert icv(integrity, int_key, associated + checked) == tag, "the check value is wrong"
        if cipher.startswith("AesCbc"):
            mode, key, rest = modes.CBC(checked[:16]), enc_key, checked[16:]
        else:
            mode, key, rest = modes.CTR(enc_key[-4:] + checked[:8] + b"\0\0\0\1"), enc_key[:-4], checked[8:]
        decryptor = Cipher(algorithms.AES(key), mode).decryptor()
        clear = decryptor.update(rest) + decryptor.finalize()
    return clear[: len(clear) - 1 - clear[-1]]


def sha1(data):
    return hashlib.sha1(data).digest()


DO = {
    "prf": prf,
    "expand": lambda name, key, seed, length: expand(name, key, seed, int.from_bytes(length, "big")),
    "skeyseed": skeyseed,
    "psk": psk,
    "prime": lambda name: prime(name).to_bytes(PRIMES[name][0] // 8, "big"),
    "safe": safe,
    "public": public,
    "agree": agree,
    "open": opened,
    "sha1": sha1,
}
# So many of the words are names of algorithms; of all others one.
NAMES = {"open": 2, "sha1": 0}

for line in sys.stdin:
    do, *words = line.split()
    names, rest = words[: NAMES.get(do, 1)], words[NAMES.get(do, 1) :]
    arguments = [b"" if word == "-" else bytes.fromhex(word) for word in rest]
    print(DO[do](*names, *arguments).hex() or "-", flush=True)
