"""Checks of access to targets: ``auth``, ``tls``, ``proxy`` and the addresses of URLs."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from daemon import settings
from daemon.outbound import ip_policy, resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.config import file_model, target_sections
    from daemon.config.document import Place, Tree

LARGEST_FILE = 1024 * 1024


def egress(file: file_model.File, tree: Tree) -> settings.Egress:
    """Return the rules for the addresses of targets."""
    networks = [ipaddress.ip_network(each) for each in file.egress.allow]
    for number, network in enumerate(networks):
        if (kind := ip_policy.never(network)) is not None:
            tree.mistake(("egress", "allow", number), f"cannot be allowed because it is {kind} (remove it)")
    return settings.Egress(file.egress.private == "allow", tuple(networks))


def check_url(url: SecretStr, rules: settings.Egress, tree: Tree, place: Place) -> None:
    """Check that the host is allowed, as far as that is known without resolving a name."""
    if (reason := resolver.refusal(url.get_secret_value(), rules)) is not None:
        tree.mistake(place, reason)


def check_proxy(proxy: SecretStr | None, tree: Tree, place: Place) -> None:
    """Check that a proxy's host is not one of those that are always refused. It may be private."""
    if proxy is not None:
        check_url(proxy, resolver.ANYWHERE, tree, (*place, "proxy"))


def auth(
    section: target_sections.TargetSection, rules: settings.Egress, tree: Tree, place: Place
) -> settings.Basic | settings.Bearer | settings.OAuth2 | None:
    """Return the authentication, or None without ``auth``. Exactly one method must be set."""
    if section.auth is None:
        return None
    methods = {"basic": section.auth.basic, "bearer": section.auth.bearer, "oauth2": section.auth.oauth2}
    chosen = [name for name, method in methods.items() if method is not None]
    blamed = any((*place, "auth", name) in tree.blamed for name in methods)
    if len(chosen) != 1 and not blamed:
        tree.mistake((*place, "auth"), f"must have exactly one of {', '.join(methods)}")
    for name in section.headers:
        if name.lower() == "authorization":
            tree.mistake((*place, "headers", name), "cannot be combined with auth, which sets this header (remove one)")
    if section.auth.basic is not None:
        return settings.Basic(section.auth.basic.username, section.auth.basic.password)
    if section.auth.bearer is not None:
        return settings.Bearer(section.auth.bearer)
    if section.auth.oauth2 is None:
        return None
    oauth2 = section.auth.oauth2
    check_url(oauth2.token_url, rules, tree, (*place, "auth", "oauth2", "token_url"))
    in_body = oauth2.client_auth == "body"
    return settings.OAuth2(
        oauth2.token_url, oauth2.client_id, oauth2.client_secret, oauth2.scope, oauth2.audience, in_body
    )


def tls(section: target_sections.TargetSection, tree: Tree, place: Place) -> settings.Tls | None:
    """Return the content of the files of ``tls``, or None without ``tls``. Invalid files are mistakes."""
    if section.tls is None:
        return None
    # The certificates module is slow to import, and most targets do not need it.
    from daemon.outbound import certificates  # noqa: PLC0415

    where = (*place, "tls")
    if urlsplit(section.url.get_secret_value()).scheme != "https":
        tree.mistake(where, "is only allowed with a url that begins with https:// (remove it)")
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if getattr(section.tls, one) is not None and getattr(section.tls, other) is None:
            tree.mistake(where, f"a {one} also requires its {other}")
    ca = _content(section.tls.ca, certificates.problem_of_certificates, tree, (*where, "ca"))
    certificate = _content(section.tls.certificate, certificates.problem_of_certificates, tree, (*where, "certificate"))
    key = _content(section.tls.key, lambda pem: certificates.problem_of_key(pem, certificate), tree, (*where, "key"))
    tls_settings = settings.Tls(ca, SecretStr(f"{certificate}\n{key}") if certificate and key else None)
    if not certificates.is_usable(tls_settings):
        tree.mistake(where, "cannot be used: OpenSSL rejects the certificate or the key (a key may be too short)")
    return tls_settings


def _content(path: str | None, problem: Callable[[str], str | None], tree: Tree, place: Place) -> str | None:
    """Return a file's content, or None after a mistake. ``problem`` returns what is wrong with a content."""
    if path is None:
        return None
    try:
        with Path(path).open(encoding="utf-8") as file:
            content = file.read(LARGEST_FILE)
    except OSError as error:
        tree.mistake(place, f"the file cannot be read: {os.strerror(error.errno or 0)}")
        return None
    except ValueError:
        content = ""
    reason = problem(content)
    if reason is not None:
        tree.mistake(place, f"the file {reason}")
        return None
    return content
