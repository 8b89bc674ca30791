"""Signing secrets and signatures as in Standard Webhooks.

``whsec_`` is a shared key (HMAC-SHA256, ``v1``). ``whsk_`` is the private key of a key pair (Ed25519, ``v1a``);
receivers verify with its public key, ``whpk_``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    Key: TypeAlias = Callable[[bytes], str]  # from the signed content to one signature

SHARED, PAIR, PUBLIC = "whsec_", "whsk_", "whpk_"
SHARED_BYTES = range(24, 65)
SEED = 32  # bytes; some libraries append the public key
ADVICE = "must be whsec_ plus the base64 of 24 to 64 random bytes (create: echo whsec_$(openssl rand -base64 32))"
ADVICE_PAIR = "must be whsk_ plus the base64 of a 32-byte Ed25519 key (create: echo whsk_$(openssl rand -base64 32))"


def problem(secret: str) -> str | None:
    """Return what is wrong with a secret, or None."""
    try:
        if secret.startswith(PAIR):
            _pair(secret)
        elif not secret.startswith(SHARED) or len(_bytes(secret, SHARED)) not in SHARED_BYTES:
            return ADVICE
    except ValueError:
        return ADVICE_PAIR if secret.startswith(PAIR) else ADVICE
    return None


def key(secret: str) -> Key:
    """Return the function that signs with a secret."""
    if secret.startswith(PAIR):
        pair = _pair(secret)
        return lambda content: f"v1a,{base64.b64encode(pair.sign(content)).decode()}"
    shared = _bytes(secret, SHARED)
    return lambda content: f"v1,{base64.b64encode(hmac.digest(shared, content, 'sha256')).decode()}"


def signature(keys: Sequence[Key], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``: one signature per key, the newest first."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(each(content) for each in keys)


def shared(secrets: Sequence[str]) -> list[str]:
    """Return the secrets that are shared keys."""
    return [secret for secret in secrets if secret.startswith(SHARED)]


def public_keys(secrets: Sequence[str]) -> tuple[str, ...]:
    """Return the public keys of the key pairs, in order."""
    pairs = (_pair(secret) for secret in secrets if secret.startswith(PAIR))
    return tuple(PUBLIC + base64.b64encode(pair.public_key().public_bytes_raw()).decode() for pair in pairs)


def _bytes(secret: str, prefix: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except binascii.Error as error:
        raise ValueError from error


def _pair(secret: str) -> Ed25519PrivateKey:
    # Few targets have such a key, and the library is slow to import.
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    content = _bytes(secret, PAIR)
    pair = ed25519.Ed25519PrivateKey.from_private_bytes(content[:SEED])
    if content[SEED:] not in {b"", pair.public_key().public_bytes_raw()}:
        raise ValueError
    return pair
