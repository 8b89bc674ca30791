"""Signatures of Standard Webhooks: with shared secrets, with key pairs, with both while they are changed."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from daemon.outbound import signing

SHARED = "whsec_cGFnZXJlbGF5LXRlc3Qtc2VjcmV0LTAxMjM0NQ=="
# The first key pair of RFC 8032, section 7.1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
BODY = '{"type":"incident.triggered","data":{"title":"Größe"}}'.encode()


def text(prefix: str, key: bytes) -> str:
    return prefix + base64.b64encode(key).decode()


PAIR = text("whsk_", SEED)


def signatures(*secrets: str, timestamp: int = 1_795_428_000) -> list[str]:
    return signing.signature([signing.key(each) for each in secrets], "msg_1", timestamp, BODY).split(" ")


def verify(signature: str, content: bytes) -> None:
    """Verify a signature as a receiver with only the public key does."""
    kind, _, encoded = signature.partition(",")
    assert kind == "v1a"
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(base64.b64decode(encoded), content)


def test_a_key_pair_signs_id_time_and_body() -> None:
    (signature,) = signatures(PAIR)
    verify(signature, b"msg_1.1795428000." + BODY)
    for other in (b"msg_2.1795428000." + BODY, b"msg_1.1795428001." + BODY, b"msg_1.1795428000." + BODY + b" "):
        with pytest.raises(InvalidSignature):
            verify(signature, other)


def test_a_private_key_may_be_followed_by_its_public_key() -> None:
    whole = text("whsk_", SEED + PUBLIC)
    assert signing.problem(whole) is None
    assert signatures(whole) == signatures(PAIR)


def test_the_public_key_can_be_derived() -> None:
    assert signing.public_keys([PAIR, SHARED]) == (text("whpk_", PUBLIC),)
    assert signing.public_keys([SHARED]) == ()


def test_secrets_of_every_kind_sign_in_their_configured_order() -> None:
    now = int(time.time())
    for secrets in ((PAIR, SHARED), (SHARED, PAIR)):
        made = signatures(*secrets, timestamp=now)
        assert [each.partition(",")[0] for each in made] == ["v1a" if each == PAIR else "v1" for each in secrets]
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": " ".join(made)}
        Webhook(SHARED).verify(BODY, headers)
        verify(made[secrets.index(PAIR)], b"msg_1.%d." % now + BODY)


@pytest.mark.parametrize(
    "secret",
    [
        text("whsk_", SEED[:31]),
        text("whsk_", SEED + b"x"),
        text("whsk_", SEED + SEED),
        "whsk_not base64",
        text("whpk_", PUBLIC),
        text("whsec_", SEED[:23]),
        text("whsec_", bytes(65)),
        "whsec_ü",
        "",
    ],
)
def test_an_invalid_secret_is_an_error_that_explains_how_to_create_one(secret: str) -> None:
    problem = signing.problem(secret)
    assert problem is not None
    assert "(create: echo whs" in problem
    assert secret not in problem or not secret


def test_signatures_without_key_pairs_use_only_shared_secrets() -> None:
    assert signing.shared([PAIR, SHARED]) == [SHARED]
