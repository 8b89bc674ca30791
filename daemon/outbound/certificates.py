"""Certificates and keys of a target: what is in their files, whether they fit, and a client that uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyreqwest.client import ClientBuilder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from daemon.settings import Tls


def applied(tls: Tls, builder: ClientBuilder) -> ClientBuilder:
    """The builder, for a client that trusts and shows these certificates."""
    if tls.ca is not None:
        for certificate in x509.load_pem_x509_certificates(tls.ca.encode()):
            builder = builder.add_root_certificate_der(certificate.public_bytes(serialization.Encoding.DER))
    if tls.identity is not None:
        builder = builder.identity_pem(tls.identity.get_secret_value().encode())
    return builder


def problem_of_certificates(pem: str) -> str | None:
    """Why a text holds no certificates; None if it does."""
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "holds no certificate in PEM (make one of another form: openssl x509 -in FILE -out NEW)"
    return None


def problem_of_key(pem: str, certificate: str | None) -> str | None:
    """Why a text is not the key of a certificate, if there is one; None if it is."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        return "is encrypted (remove its passphrase: openssl pkey -in FILE -out NEW)"
    except (ValueError, ArithmeticError):
        return "holds no private key in PEM (make one of another form: openssl pkey -in FILE -out NEW)"
    if certificate is not None and _public(key) != _public(x509.load_pem_x509_certificates(certificate.encode())[0]):
        return "is not the key of the certificate"
    return None


def is_usable(tls: Tls) -> bool:
    """Whether the HTTP client takes them: it knows fewer kinds of keys than there are."""
    try:
        applied(tls, ClientBuilder()).build()
    except ValueError:
        return False
    return True


def _public(of: PrivateKeyTypes | x509.Certificate) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return of.public_key().public_bytes(serialization.Encoding.DER, spki)
