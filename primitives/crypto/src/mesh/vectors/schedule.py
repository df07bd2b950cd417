#!/usr/bin/env python3
"""A second implementation of the key schedule of docs/mesh/handshake.md; prints the vectors.

The secrets of ML-KEM-768 and X25519 are those of the first test of Wycheproof's mlkem_768_test and
x25519_test, so that the Rust side starts from published inputs too.
"""
import hashlib
import hmac
import json


def pattern(start, length):
    return bytes((start + 7 * i) % 256 for i in range(length))


def sha384(*parts):
    return hashlib.sha384(b"".join(parts)).digest()


def blake2b(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), "sha384").digest()


def expand(secret, label, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = mac(secret, block, label, bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:length]


def key_and_iv(secret):
    return [expand(secret, b"x0/mesh-key/v1", 32).hex(), expand(secret, b"x0/mesh-iv/v1", 12).hex()]


def traffic(root):
    out = {}
    for side in ("i", "r"):
        secret = expand(root, f"x0/mesh-packet-{side}/v1".encode(), 48)
        out[f"packet_{side}"] = key_and_iv(secret)
        out[f"packet_{side}_next"] = key_and_iv(expand(secret, b"x0/mesh-phase/v1", 48))
        out[f"hop_{side}"] = expand(root, f"x0/mesh-hop-{side}/v1".encode(), 16).hex()
        tags = expand(root, f"x0/mesh-tag-{side}/v1".encode(), 48)
        out[f"tag_{side}"] = int.from_bytes(mac(tags, (5).to_bytes(8, "big"))[:4], "big")
    out["id"] = expand(root, b"x0/mesh-id/v1", 32).hex()
    return out, expand(root, b"x0/mesh-chain/v1", 48)


kem = bytes.fromhex("76c10bb1d86d96d7eb18e298363e51f7728e113f455df7d15017940ed3541451")
x25519 = bytes.fromhex("436a2c040cf45fea9b29a0cb81b1f41458f863d0d61b453d0a982720d6d61320")
genesis, mesh, initiator, responder = (pattern(n, 32) for n in (1, 2, 3, 4))
hello, answer, proof = pattern(5, 1192), pattern(6, 1128), pattern(7, 3374)
key_i, key_r, x25519_i = pattern(8, 1952), pattern(9, 1952), pattern(10, 32)

opening = sha384(b"x0/mesh-opening/v1", genesis, mesh, hello, answer)
signed_i = sha384(b"x0/mesh-initiator/v1", opening, initiator, responder, blake2b(key_i), x25519_i)
signed_r = sha384(b"x0/mesh-responder/v1", signed_i, sha384(b"x0/mesh-responder/v1", proof), blake2b(key_r))

root = mac(opening, kem)
handshake = {}
for side in ("i", "r"):
    handshake[f"proof_{side}"] = key_and_iv(expand(root, f"x0/mesh-proof-{side}/v1".encode(), 48))
    handshake[f"mac_{side}"] = expand(root, f"x0/mesh-proof-mac-{side}/v1".encode(), 16).hex()

keys, chain = traffic(mac(signed_r, kem + x25519))
ek, ct = pattern(11, 1184), pattern(12, 1088)
ratcheted, _ = traffic(mac(sha384(b"x0/mesh-ratchet/v1", (9).to_bytes(4, "big"), ek, ct), chain + kem))

cookie = mac(pattern(13, 32), b"x0/mesh-cookie/v1", b"a place")[:16]
print(json.dumps({
    "signed_i": signed_i.hex(),
    "signed_r": signed_r.hex(),
    "handshake": handshake,
    "traffic": keys,
    "ratcheted": ratcheted,
    "hello_mac": sha384(b"x0/mesh-hello-mac/v1", genesis, mesh, responder)[:16].hex(),
    "answer_mac": sha384(b"x0/mesh-answer-mac/v1", genesis, mesh, responder, hello)[:16].hex(),
    "cookie_mac": mac(cookie, b"x0/mesh-cookie-mac/v1", hello)[:16].hex(),
    "cookie_key": sha384(b"x0/mesh-cookie-key/v1", genesis, mesh, responder, hello)[:32].hex(),
}, indent=1))
