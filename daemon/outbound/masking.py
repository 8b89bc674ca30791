"""What of a configuration must never be shown, and texts without it."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, unquote, urlsplit

from daemon.model import MASK
from daemon.settings import Basic, Bearer, OAuth2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.settings import Target

LEAST_TOKEN = 16  # characters
WORDS = re.compile(r"[a-z._-]*")
SHORTEST = 8  # of a path or a query: shorter ones are too common in texts, and no secret


def of_target(target: Target) -> Iterator[str]:
    """What a target's requests carry that is secret, but for its URL."""
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
    """The password of a proxy's URL, as it is written, as it is meant, and as it is sent."""
    parts = urlsplit(url)
    if parts.password is not None:
        name, password = unquote(parts.username or ""), unquote(parts.password)
        yield from (url, f"{parts.username}:{parts.password}", parts.password, password)
        yield _sent(f"{name}:{password}")


def _sent(pair: str) -> str:
    """As it is in a header."""
    return b64encode(pair.encode()).decode()


def of_url(url: str) -> Iterator[str]:
    """Path and query, which many answers repeat by themselves and which are long where they are a secret."""
    parts = urlsplit(url)
    yield url
    yield from (each for each in (parts.path, parts.query) if len(each) >= SHORTEST)


def pieces(url: str) -> Iterator[str]:
    """What in a URL may be a token by itself: values of the query, and long parts of the path that are no words."""
    parts = urlsplit(url)
    values = (value for pair in parts.query.split("&") for value in (pair.partition("=")[2],))
    tokens = (each for each in parts.path.split("/") if len(each) >= LEAST_TOKEN and not WORDS.fullmatch(each))
    for each in (*values, *tokens):
        yield from (part for part in {each, unquote(each)} if len(part) >= SHORTEST)


def spelt(hidden: Iterable[str]) -> Iterator[str]:
    """What is to be hidden, also as it is within JSON and HTML, where many answers repeat it."""
    for each in hidden:
        quoted = json.dumps(each)[1:-1]
        yield from (each, quoted, quoted.replace("/", "\\/"), html.escape(each))


def masked(text: str, hidden: Iterable[str]) -> str:
    """The text without what is hidden, which begins with the longest."""
    for each in hidden:
        text = text.replace(each, MASK)
    return text


def longest_first(hidden: Iterable[str], shortest: int = 1) -> list[str]:
    """What is to be hidden, in the order in which nothing remains of it."""
    return sorted({each for each in hidden if len(each) >= shortest}, key=len, reverse=True)
