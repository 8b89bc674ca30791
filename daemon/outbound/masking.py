"""Secrets of targets and proxies, and masking them in texts."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, unquote, urlsplit

from daemon.settings import Basic, Bearer, OAuth2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.settings import Target

LEAST_TOKEN = 16  # characters
WORDS = re.compile(r"[a-z._-]*")
SHORTEST = 8  # characters of a path or query; shorter ones are common in texts and not secret


def of_target(target: Target) -> Iterator[str]:
    """Yield the secrets in a target's requests, except those in its URL."""
    yield from (secret.get_secret_value() for secret in target.secrets)
    yield from (value.get_secret_value() for _, value in target.headers)
    yield from _of_auth(target.auth)
    if target.tls is not None and target.tls.identity is not None:
        yield target.tls.identity.get_secret_value()
    if target.proxy is not None:
        yield from of_proxy(target.proxy.get_secret_value())


def _of_auth(auth: Basic | Bearer | OAuth2 | None) -> Iterator[str]:
    match auth:
        case Basic(username, password):
            yield password.get_secret_value()
            yield _sent(f"{username}:{password.get_secret_value()}")
        case Bearer(token):
            yield token.get_secret_value()
        case OAuth2():
            name, secret = auth.client_id, auth.client_secret.get_secret_value()
            yield from (secret, quote_plus(secret), _sent(f"{quote_plus(name)}:{quote_plus(secret)}"))
            yield from of_url(auth.token_url.get_secret_value())


def of_proxy(url: str) -> Iterator[str]:
    """Yield the password of a proxy URL: as written, decoded, and as sent."""
    parts = urlsplit(url)
    if parts.password is not None:
        name, password = unquote(parts.username or ""), unquote(parts.password)
        yield from (url, f"{parts.username}:{parts.password}", parts.password, password)
        yield _sent(f"{name}:{password}")


def _sent(pair: str) -> str:
    """Return a user name and password as sent in a header."""
    return b64encode(pair.encode()).decode()


def of_url(url: str) -> Iterator[str]:
    """Yield a URL, its path and its query, which many responses repeat and which are long if they are secret."""
    parts = urlsplit(url)
    yield url
    yield from (each for each in (parts.path, parts.query) if len(each) >= SHORTEST)


def pieces(url: str) -> Iterator[str]:
    """Yield the parts of a URL that may be tokens: query values, and long path segments that are not words."""
    parts = urlsplit(url)
    values = (value for pair in parts.query.split("&") for value in (pair.partition("=")[2],))
    tokens = (each for each in parts.path.split("/") if len(each) >= LEAST_TOKEN and not WORDS.fullmatch(each))
    for each in (*values, *tokens):
        yield from (part for part in {each, unquote(each)} if len(part) >= SHORTEST)


def spellings(hidden: Iterable[str]) -> Iterator[str]:
    """Yield secrets as they are, and as JSON and HTML spell them, because many responses repeat them."""
    for each in hidden:
        quoted = json.dumps(each)[1:-1]
        yield from (each, quoted, quoted.replace("/", "\\/"), html.escape(each))


def longest_first(hidden: Iterable[str], shortest: int = 1) -> list[str]:
    """Return the secrets in an order in which no part of one remains."""
    return sorted({each for each in hidden if len(each) >= shortest}, key=len, reverse=True)
