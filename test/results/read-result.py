"""Reads and makes attestation results and wrapped evidence with Debian's python3-jwt, -cbor2 and -cryptography.

Commands are lines of JSON on standard input; bytes in them are hex.
"""

import json
import sys

import cbor2
import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils


def read_jwt(command):
    return jwt.decode(
        command["token"],
        command["key"],
        algorithms=[command["algorithm"]],
        options={"verify_exp": False, "verify_iat": False},
    )


def make_jwt(command):
    return jwt.encode(
        command["claims"], command["key"], algorithm=command["algorithm"], headers={"typ": "eat+jwt"}
    )


HASHES = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512(), "PS256": hashes.SHA256()}
ALGORITHMS = {"ES256": -7, "ES384": -35, "ES512": -36, "PS256": -37, "EdDSA": -8}
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def check(key, algorithm, signature, data):
    """Raises InvalidSignature."""
    if algorithm == "EdDSA":
        key.verify(signature, data)
    elif algorithm == "PS256":
        key.verify(signature, data, PSS, HASHES[algorithm])
    else:
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(HASHES[algorithm]))


def sign(key, algorithm, data):
    if algorithm == "EdDSA":
        return key.sign(data)
    if algorithm == "PS256":
        return key.sign(data, PSS, HASHES[algorithm])
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[algorithm])))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def sig_structure(protected, payload):
    return cbor2.dumps(["Signature1", protected, b"", payload])


def read_cwt(command):
    """Verifies a COSE_Sign1 and gives its claims, in diagnostic form of a kind."""
    outer = cbor2.loads(bytes.fromhex(command["token"]))
    assert outer.tag == 61 and outer.value.tag == 18
    protected, unprotected, payload, signature = outer.value.value
    header = cbor2.loads(protected)
    assert header[1] == ALGORITHMS[command["algorithm"]] and unprotected == {}
    key = serialization.load_pem_public_key(command["key"].encode())
    check(key, command["algorithm"], signature, sig_structure(protected, payload))
    claims = cbor2.loads(payload)
    appraisal = claims[266]["metabind"]
    return {
        "profile": claims[265],
        "status": claims[1000],
        "nonce": claims[10].hex(),
        "ueid": appraisal[1005][256].hex(),
        "instance": appraisal[1005]["metabind_instance_id"],
        "payload": payload.hex(),
    }


def make_cwt(command):
    protected = cbor2.dumps({1: ALGORITHMS[command["algorithm"]], 16: "application/eat+cwt"})
    payload = cbor2.dumps(cbor2.loads(bytes.fromhex(command["payload"])))
    key = serialization.load_pem_private_key(command["key"].encode(), None)
    signature = sign(key, command["algorithm"], sig_structure(protected, payload))
    sign1 = cbor2.CBORTag(18, [protected, {}, payload, signature])
    return cbor2.dumps(cbor2.CBORTag(61, sign1)).hex()


def read_cmw(command):
    media_type, value = cbor2.loads(bytes.fromhex(command["record"]))
    return [media_type, value.hex()]


def make_cmw(command):
    return cbor2.dumps([command["type"], bytes.fromhex(command["value"])]).hex()


COMMANDS = {"read-cmw": read_cmw, "make-cmw": make_cmw, "read-jwt": read_jwt, "make-jwt": make_jwt, "read-cwt": read_cwt, "make-cwt": make_cwt}

for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(COMMANDS[command["do"]](command)))
