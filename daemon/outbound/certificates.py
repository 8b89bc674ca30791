"""CA certificates, client certificates and keys of a target: checking them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from daemon import errors
from daemon.outbound import tls as tls_rules

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from daemon.settings import Tls


def problem_of_certificates(pem: str) -> str | None:
    """Return what is wrong with PEM certificates, or None."""
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "contains no PEM certificate (convert another format: openssl x509 -in FILE -out NEW)"
    return None


def problem_of_key(pem: str, certificate: str | None) -> str | None:
    """Return why a PEM key is unusable or does not belong to the certificate, or None."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        return "is encrypted (remove its passphrase: openssl pkey -in FILE -out NEW)"
    except (ValueError, ArithmeticError):
        return "contains no PEM private key (convert another format: openssl pkey -in FILE -out NEW)"
    if certificate is not None and _public(key) != _public(x509.load_pem_x509_certificates(certificate.encode())[0]):
        return "does not belong to the certificate"
    return None


def is_usable(tls: Tls) -> bool:
    """Return whether OpenSSL accepts them: it refuses keys that are too short, for example."""
    try:
        tls_rules.context(tls)
    except ssl.SSLError:
        return False
    except errors.NoAnswer:  # the first attempt reports it
        pass
    return True


def _public(of: PrivateKeyTypes | x509.Certificate) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return of.public_key().public_bytes(serialization.Encoding.DER, spki)
