"""Who pagerelay is to a target, and how it reaches it: ``auth``, ``tls``, ``proxy``, and where the URLs lead."""

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

    from daemon.config import file_model
    from daemon.config.document import Place, Tree

LARGEST_FILE = 1024 * 1024


def egress(file: file_model.File, tree: Tree) -> settings.Egress:
    """The rules for where targets may be."""
    networks = [ipaddress.ip_network(each) for each in file.egress.allow]
    for number, network in enumerate(networks):
        if (kind := ip_policy.never(network)) is not None:
            tree.mistake(("egress", "allow", number), f"cannot be allowed because it is {kind} (remove it)")
    return settings.Egress(file.egress.private == "allow", tuple(networks))


def check_url(url: SecretStr, rules: settings.Egress, tree: Tree, place: Place) -> None:
    """The host must be one that may be connected to, as far as that is known without asking for a name."""
    if (reason := resolver.refusal(url.get_secret_value(), rules)) is not None:
        tree.mistake(place, reason)


def check_proxy(proxy: SecretStr | None, tree: Tree, place: Place) -> None:
    """A proxy may be private, but nothing that is always refused."""
    if proxy is not None:
        check_url(proxy, resolver.ANYWHERE, tree, (*place, "proxy"))


def auth(
    given: file_model.TargetSection, rules: settings.Egress, tree: Tree, place: Place
) -> settings.Basic | settings.Bearer | settings.OAuth2 | None:
    """Exactly one way to show who pagerelay is; none if there is no ``auth``."""
    if given.auth is None:
        return None
    ways = {"basic": given.auth.basic, "bearer": given.auth.bearer, "oauth2": given.auth.oauth2}
    chosen = [name for name, way in ways.items() if way is not None]
    blamed = any((*place, "auth", name) in tree.blamed for name in ways)
    if len(chosen) != 1 and not blamed:
        tree.mistake((*place, "auth"), f"must have exactly one of {', '.join(ways)}")
    for name in given.headers:
        if name.lower() == "authorization":
            tree.mistake((*place, "headers", name), "cannot be combined with auth, which sets this header (remove one)")
    if given.auth.basic is not None:
        return settings.Basic(given.auth.basic.username, given.auth.basic.password)
    if given.auth.bearer is not None:
        return settings.Bearer(given.auth.bearer)
    if given.auth.oauth2 is None:
        return None
    oauth2 = given.auth.oauth2
    check_url(oauth2.token_url, rules, tree, (*place, "auth", "oauth2", "token_url"))
    in_body = oauth2.client_auth == "body"
    return settings.OAuth2(
        oauth2.token_url, oauth2.client_id, oauth2.client_secret, oauth2.scope, oauth2.audience, in_body
    )


def tls(given: file_model.TargetSection, tree: Tree, place: Place) -> settings.Tls | None:
    """What is in the files of ``tls``; None without it, or with a mistake in it."""
    if given.tls is None:
        return None
    # Certificates take their time to load, and most targets have none.
    from daemon.outbound import certificates  # noqa: PLC0415

    where = (*place, "tls")
    if urlsplit(given.url.get_secret_value()).scheme != "https":
        tree.mistake(where, "is only allowed with a url that begins with https:// (remove it)")
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if getattr(given.tls, one) is not None and getattr(given.tls, other) is None:
            tree.mistake(where, f"a {one} also requires its {other}")
    ca = _content(given.tls.ca, certificates.problem_of_certificates, tree, (*where, "ca"))
    certificate = _content(given.tls.certificate, certificates.problem_of_certificates, tree, (*where, "certificate"))
    key = _content(given.tls.key, lambda pem: certificates.problem_of_key(pem, certificate), tree, (*where, "key"))
    made = settings.Tls(ca, SecretStr(f"{certificate}\n{key}") if certificate and key else None)
    if not certificates.is_usable(made):
        tree.mistake(where, "cannot be used: certificates or a key of a kind that is not supported")
    return made


def _content(path: str | None, problem: Callable[[str], str | None], tree: Tree, place: Place) -> str | None:
    """A file's content, if it can be read and there is no problem with it."""
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
