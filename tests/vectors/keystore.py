#!/usr/bin/env python3
"""Writes keystore-v1.json beside itself: an independent writer of the keystore format, version 1.

Needs the package `cryptography` (48 or later) for argon2id, AES-GCM and ML-DSA-65. The numbers that
are random in real files are fixed here, so that the output is always the same.
"""

import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SEED = bytes(range(32))
PASSWORD = "pässword 1".encode()
SALT = bytes(range(100, 116))
NONCE = bytes(range(200, 212))
MEMORY_KIB, PASSES, LANES = 2048, 2, 2


def blake2b_256(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def field(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


public = mldsa.MLDSA65PrivateKey.from_seed_bytes(SEED).public_key().public_bytes_raw()
output = Argon2id(salt=SALT, length=64, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB).derive(PASSWORD)
check = blake2b_256(b"x0/keystore-check/v1" + output[32:])
header = b"x0/keystore/v1" + b"".join(
    field(part)
    for part in (
        struct.pack("<I", 1),
        b"account",
        b"ML-DSA-65",
        public.hex().encode(),
        b"argon2id",
        struct.pack("<I", MEMORY_KIB),
        struct.pack("<I", PASSES),
        struct.pack("<I", LANES),
        SALT.hex().encode(),
        b"AES-256-GCM",
    )
)
ciphertext = AESGCM(output[:32]).encrypt(NONCE, SEED, header)
sealed = b"".join(field(data.hex().encode()) for data in (NONCE, ciphertext, check))
document = {
    "version": 1,
    "role": "account",
    "algorithm": "ML-DSA-65",
    "public_key": public.hex(),
    "kdf": {"name": "argon2id", "memory_kib": MEMORY_KIB, "passes": PASSES, "lanes": LANES, "salt": SALT.hex()},
    "cipher": {"name": "AES-256-GCM", "nonce": NONCE.hex(), "ciphertext": ciphertext.hex()},
    "check": check.hex(),
    "checksum": blake2b_256(b"x0/keystore-checksum/v1" + header + sealed).hex(),
}
target = pathlib.Path(__file__).with_name("keystore-v1.json")
target.write_text(json.dumps(document, indent=2) + "\n")
print(target)
