"""TLS of the standard library: contexts, shared because each takes long to create, and failures in words."""

from __future__ import annotations

import functools
import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import errors

if TYPE_CHECKING:
    from daemon.settings import Tls

NO_AUTHORITIES = "this machine has no CA certificates (install ca-certificates)"
TRUST = "the certificate is signed by an authority that is not trusted (set tls.ca of the target to its file)"
NAME = "(use a name in the certificate as the host of the url)"
VERIFICATION = {  # by OpenSSL's code
    9: "the certificate is not valid yet (check the clocks of both machines)",
    10: "the certificate has expired (renew it on the target)",
    18: "the certificate is self-signed (set tls.ca of the target to its file)",
    19: TRUST,
    20: TRUST,
    21: TRUST,
    62: f"the certificate is for another name {NAME}",
    64: f"the certificate is for another address {NAME}",
}
REASONS = (  # parts of OpenSSL's names for reasons
    ("CERTIFICATE_REQUIRED", "the target requires a client certificate (set tls.certificate and tls.key)"),
    ("HANDSHAKE_FAILURE", "the target refused the TLS handshake (it may require tls.certificate and tls.key)"),
    ("UNKNOWN_CA", "the target does not trust the client certificate (set tls.certificate to one from its authority)"),
    ("ALERT_BAD_CERTIFICATE", "the target refused the client certificate (check tls.certificate)"),
    ("CERTIFICATE_EXPIRED", "the client certificate has expired (renew tls.certificate)"),
    ("PROTOCOL_VERSION", "the target supports neither TLS 1.2 nor 1.3 (update the target)"),
    ("UNSUPPORTED_PROTOCOL", "the target supports neither TLS 1.2 nor 1.3 (update the target)"),
    ("WRONG_VERSION_NUMBER", "the target does not speak TLS (use http:// or another port)"),
    ("HTTP_REQUEST", "the target does not speak TLS (use http:// or another port)"),
)


def context(tls: Tls | None) -> ssl.SSLContext:
    """Return the context of a target.

    Raises ssl.SSLError if its certificate or key is unusable, and NoAnswer if this machine has no authorities.
    """
    identity = None if tls is None or tls.identity is None else tls.identity.get_secret_value()
    return _context(None if tls is None else tls.ca, identity, ssl.get_default_verify_paths())


def explain(error: ssl.SSLError) -> str:
    """Return what is wrong with the TLS of a target, with the remedy."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = VERIFICATION.get(error.verify_code)
        return words or f"the certificate is not accepted: {error.verify_message}"
    reason = error.reason or ""
    words = next((words for part, words in REASONS if part in reason), None)
    return words or f"TLS failed: {reason.replace('_', ' ').lower() or 'the target ended the handshake'}"


@functools.lru_cache(maxsize=256)
def _context(ca: str | None, identity: str | None, paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls_context.minimum_version = ssl.TLSVersion.TLSv1_2
    tls_context.set_default_verify_paths()
    # A certificate that is its own authority is trusted if it is named; the strict rules would refuse many.
    tls_context.verify_flags = (
        tls_context.verify_flags | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    ) & ~ssl.VERIFY_X509_STRICT
    if ca is not None:
        tls_context.load_verify_locations(cadata=ca)
    elif not tls_context.cert_store_stats()["x509"] and not (paths.capath and any(Path(paths.capath).iterdir())):
        raise errors.NoAnswer(NO_AUTHORITIES)
    if identity is not None:
        _load_identity(tls_context, identity)
    return tls_context


def _load_identity(tls_context: ssl.SSLContext, identity: str) -> None:
    """Load a certificate with its key, which the library reads only from a file: one that only we can read."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("identity"), "w", encoding="utf-8") as file:
            file.write(identity)
            file.flush()
            tls_context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_password)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(identity)
        file.flush()
        tls_context.load_cert_chain(file.name, password=_no_password)


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")
