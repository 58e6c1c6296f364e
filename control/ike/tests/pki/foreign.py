"""Another implementation of IKEv2's signatures (RFC 7427, RFC 4754, RFC 7296), on Debian's python3-cryptography.

Reads one task a line as JSON and answers with a line each. AlgorithmIdentifiers are put together from object identifiers
here, so that they check the ones that the program has as bytes.
"""

import json
import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
PKCS1_OIDS = {"sha1": 5, "sha256": 11, "sha384": 12, "sha512": 13}
ECDSA_OIDS = {"sha1": "1", "sha256": "3.2", "sha384": "3.3", "sha512": "3.4"}
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
FIXED = {9: ("sha256", 32), 10: ("sha384", 48), 11: ("sha512", 66)}
NULL = b"\x05\x00"


def tlv(tag, *parts):
    body = b"".join(parts)
    assert len(body) < 128
    return bytes([tag, len(body)]) + body


def oid(text):
    first, second, *others = map(int, text.split("."))
    out = bytes([40 * first + second])
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        out += bytes(reversed(digits))
    return tlv(0x06, out)


def identifier(kind, name, salt, null):
    null = NULL if null else b""
    if kind == "pkcs1":
        return tlv(0x30, oid(f"1.2.840.113549.1.1.{PKCS1_OIDS[name]}"), null)
    if kind == "pss":
        a_hash = tlv(0x30, oid(HASH_OIDS[name]), null)
        mask = tlv(0x30, oid("1.2.840.113549.1.1.8"), a_hash)
        parameters = tlv(0x30, tlv(0xA0, a_hash), tlv(0xA1, mask), tlv(0xA2, tlv(0x02, bytes([salt]))))
        return tlv(0x30, oid("1.2.840.113549.1.1.10"), parameters)
    if kind == "ecdsa":
        return tlv(0x30, oid(f"1.2.840.10045.4.{ECDSA_OIDS[name]}"))
    return tlv(0x30, oid("1.3.101.112"))


def rsa_padding(task, a_hash):
    if task["kind"] == "pss":
        return padding.PSS(padding.MGF1(a_hash), task["salt"])
    return padding.PKCS1v15()


def sign(task):
    key = serialization.load_pem_private_key(task["key"].encode(), None)
    signed = bytes.fromhex(task["signed"])
    kind, name = task["kind"], task.get("hash")
    if task["method"] in FIXED:
        name, size = FIXED[task["method"]]
        numbers = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(HASHES[name]())))
        return {"auth": b"".join(number.to_bytes(size, "big") for number in numbers).hex()}
    if kind == "ed25519":
        signature = key.sign(signed)
    elif kind == "ecdsa":
        signature = key.sign(signed, ec.ECDSA(HASHES[name]()))
    else:
        a_hash = HASHES[name]()
        signature = key.sign(signed, rsa_padding(task, a_hash), a_hash)
    if task["method"] == 1:
        return {"auth": signature.hex()}
    name_of_it = identifier(kind, name, task.get("salt"), task.get("nulls", True))
    return {"auth": (bytes([len(name_of_it)]) + name_of_it + signature).hex()}


def verify(task):
    key = x509.load_der_x509_certificate(bytes.fromhex(task["certificate"])).public_key()
    signed, auth = bytes.fromhex(task["signed"]), bytes.fromhex(task["auth"])
    kind, name = task["kind"], task.get("hash")
    if task["method"] == 14:
        name_of_it, auth = auth[1 : 1 + auth[0]], auth[1 + auth[0] :]
        if name_of_it != identifier(kind, name, task.get("salt"), True):
            return {"error": "another algorithm: " + name_of_it.hex()}
    try:
        if task["method"] in FIXED:
            name, size = FIXED[task["method"]]
            if len(auth) != 2 * size:
                return {"error": "another length"}
            numbers = (int.from_bytes(auth[:size], "big"), int.from_bytes(auth[size:], "big"))
            key.verify(utils.encode_dss_signature(*numbers), signed, ec.ECDSA(HASHES[name]()))
        elif kind == "ed25519":
            key.verify(auth, signed)
        elif kind == "ecdsa":
            key.verify(auth, signed, ec.ECDSA(HASHES[name]()))
        else:
            a_hash = HASHES[name]()
            key.verify(auth, signed, rsa_padding(task, a_hash), a_hash)
    except InvalidSignature:
        return {"error": "not this key's"}
    return {}


def make(task):
    kind = task["kind"]
    if kind == "rsa":
        key = rsa.generate_private_key(65537, task["bits"])
    elif kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(CURVES[kind]())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    forms = {"pkcs8": serialization.PrivateFormat.PKCS8, "traditional": serialization.PrivateFormat.TraditionalOpenSSL}
    if kind == "ed25519":
        del forms["traditional"]
    answer = {name: key.private_bytes(pem, form, plain).decode() for name, form in forms.items()}
    secret = serialization.BestAvailableEncryption(b"secret")
    for name, form in forms.items():
        answer["encrypted_" + name] = key.private_bytes(pem, form, secret).decode()
    return answer


def certify(task):
    """A certificate over a key that the program's own maker of certificates cannot have in one."""
    key = serialization.load_pem_private_key(task["key"].encode(), None)
    issuer_key = serialization.load_pem_private_key(task["issuer_key"].encode(), None)
    issuer = x509.load_der_x509_certificate(bytes.fromhex(task["issuer"]))
    name = x509.DNSName(task["name"])
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(issuer.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(issuer.not_valid_before).not_valid_after(issuer.not_valid_after)
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=True)
    certificate = builder.sign(issuer_key, HASHES[task["hash"]]())
    return {"certificate": certificate.public_bytes(serialization.Encoding.DER).hex()}


TASKS = {"sign": sign, "verify": verify, "make": make, "certify": certify}
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps(TASKS[task["op"]](task)), flush=True)
