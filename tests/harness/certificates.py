"""A private certificate authority with certificates for servers and clients, created on demand."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

    Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: str
    key: str

    def written(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both to files; return their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        for path, text in zip(paths, (self.certificate, self.key), strict=True):
            path.write_text(text)
        return paths


class Authority:
    """A certificate authority that signs any certificate."""

    def __init__(self, name: str = "Test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ours = x509.BasicConstraints(ca=True, path_length=0)
        self.pem = self._signed(self._name, self._key, (ours, True)).public_bytes(PEM).decode()

    def issue(self, *names: str, client: bool = False, key: Key | None = None, days: int = 1) -> Pair:
        """Issue a certificate for these names and addresses; it ends in so many days, or has ended."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        signed = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
            key,
            (x509.SubjectAlternativeName([_general(each) for each in names]), False),
            (x509.ExtendedKeyUsage([usage]), False),
            days=days,
        )
        return Pair(signed.public_bytes(PEM).decode(), _plain(key))

    @classmethod
    def alone(cls, *names: str) -> Pair:
        """Return a self-signed certificate for these names and addresses, and its key."""
        whole = cls(names[0])
        ours = x509.BasicConstraints(ca=True, path_length=None)
        alternative = x509.SubjectAlternativeName([_general(each) for each in names])
        signed = whole._signed(whole._name, whole._key, (ours, True), (alternative, False))
        return Pair(signed.public_bytes(PEM).decode(), _plain(whole._key))

    def server(self, folder: Path, *names: str, clients_of: Authority | None = None, days: int = 1) -> ssl.SSLContext:
        """Return a server's TLS context; it may require a client certificate of another authority."""
        certificate, key = self.issue(*names, days=days).written(folder, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if clients_of is not None:
            context.load_verify_locations(cadata=clients_of.pem)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _signed(
        self, subject: x509.Name, key: Key, *extensions: tuple[x509.ExtensionType, bool], days: int = 1
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=10),
            not_valid_after=now + timedelta(days=days),
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def _plain(key: Key) -> str:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
