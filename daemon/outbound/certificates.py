"""CA certificates, client certificates and keys of a target: checking them, and using them in a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyreqwest.client import ClientBuilder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from daemon.settings import Tls


def applied(tls: Tls, builder: ClientBuilder) -> ClientBuilder:
    """Return a builder whose client trusts the CA and presents the client certificate."""
    if tls.ca is not None:
        for certificate in x509.load_pem_x509_certificates(tls.ca.encode()):
            builder = builder.add_root_certificate_der(certificate.public_bytes(serialization.Encoding.DER))
    if tls.identity is not None:
        builder = builder.identity_pem(tls.identity.get_secret_value().encode())
    return builder


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
    """Return whether the HTTP client accepts them: it supports only some kinds of keys."""
    try:
        applied(tls, ClientBuilder()).build()
    except ValueError:
        return False
    return True


def _public(of: PrivateKeyTypes | x509.Certificate) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return of.public_key().public_bytes(serialization.Encoding.DER, spki)
