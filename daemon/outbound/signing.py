"""Signing secrets and signatures as in Standard Webhooks.

``whsec_`` is a shared key (HMAC-SHA256, ``v1``). ``whsk_`` is the private key of a key pair (Ed25519, ``v1a``);
receivers verify with its public key, ``whpk_``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    Key: TypeAlias = Callable[[bytes], str]  # from the signed content to one signature

SHARED, PAIR, PUBLIC = "whsec_", "whsk_", "whpk_"
SHARED_BYTES = range(24, 65)
SEED = 32  # bytes; some libraries append the public key
ADVICE = "must be whsec_ plus the base64 of 24 to 64 random bytes (create: echo whsec_$(openssl rand -base64 32))"
CREATE = f"create: echo {SHARED}$(openssl rand -base64 32)"
FOREIGN = f"{CREATE}; for a secret that the receiver created: echo {SHARED}$(printf %s SECRET | base64 -w0)"
HEXADECIMAL = re.compile(r"([0-9A-Fa-f]{2})+")
NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]|=[^=]|===")
URL_SAFE = re.compile(r"[-_]")
FROM_URL_SAFE = str.maketrans("-_", "+/")
ADVICE_PAIR = "must be whsk_ plus the base64 of a 32-byte Ed25519 key (create: echo whsk_$(openssl rand -base64 32))"


def problem(secret: str) -> str | None:
    """Return which rule a secret breaks, with the remedy, or None."""
    if secret.startswith(PAIR):
        try:
            _pair(secret)
        except ValueError:
            return ADVICE_PAIR
        return None
    return _problem_of_shared(secret)


def _problem_of_shared(secret: str) -> str | None:
    for prefix in ("v1,", "v1="):
        if secret.startswith(prefix):
            return f"must begin with {SHARED}, without the version (remove {prefix} in front of it)"
    if not secret.startswith(SHARED):
        if HEXADECIMAL.fullmatch(secret):
            return f"is hexadecimal, without {SHARED} ({FOREIGN})"
        return f"must begin with {SHARED} or {PAIR} ({FOREIGN})"
    return _problem_of_base64(secret.removeprefix(SHARED)) or _problem_of_length(len(_bytes(secret, SHARED)))


def _problem_of_base64(text: str) -> str | None:
    if URL_SAFE.search(text) and not NOT_BASE64.search(text.translate(FROM_URL_SAFE)):
        return "is in the URL-safe form of base64 (replace - by + and _ by /)"
    if NOT_BASE64.search(text):
        return f"has characters after {SHARED} that are not base64: letters, digits, + and /, at the end = ({CREATE})"
    if len(text) % 4:
        return f"is not complete base64: the number of characters after {SHARED} must be a multiple of 4 (pad with =)"
    return None


def _problem_of_length(size: int) -> str | None:
    if size not in SHARED_BYTES:
        bounds = f"{SHARED_BYTES.start} to {SHARED_BYTES.stop - 1} bytes"
        fault = "short" if size < SHARED_BYTES.start else "long"
        return f"is too {fault}: {size} bytes instead of {bounds} ({CREATE})"
    return None


def key(secret: str) -> Key:
    """Return the function that signs with a secret."""
    if secret.startswith(PAIR):
        pair = _pair(secret)
        return lambda content: f"v1a,{base64.b64encode(pair.sign(content)).decode()}"
    keyed = hmac.new(_bytes(secret, SHARED), digestmod="sha256")  # a copy is half as dear as a new one

    def sign(content: bytes) -> str:
        digest = keyed.copy()
        digest.update(content)
        return f"v1,{binascii.b2a_base64(digest.digest(), newline=False).decode()}"

    return sign


def signature(keys: Sequence[Key], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``: one signature per key, the newest first."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join([each(content) for each in keys])


def shared(secrets: Sequence[str]) -> list[str]:
    """Return the secrets that are shared keys."""
    return [secret for secret in secrets if secret.startswith(SHARED)]


def public_keys(secrets: Sequence[str]) -> tuple[str, ...]:
    """Return the public keys of the key pairs, in order."""
    pairs = [_pair(secret) for secret in secrets if secret.startswith(PAIR)]
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
