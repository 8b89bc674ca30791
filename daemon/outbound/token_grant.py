"""The token request of OAuth 2.0 client credentials (RFC 6749, 4.4) and its response. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

import orjson

from daemon import errors

if TYPE_CHECKING:
    from daemon.settings import OAuth2

OK = 200
DEFAULT_LIFETIME = 3600.0  # seconds, for a token without ``expires_in``
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
CODE = re.compile(r"[a-z_]{1,60}")


def request(auth: OAuth2) -> tuple[dict[str, str], bytes]:
    """Return the headers and the form of a token request."""
    form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    secret = auth.client_secret.get_secret_value()
    if auth.in_body:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    else:
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers, urlencode({key: value for key, value in form.items() if value is not None}).encode()


def read(status: int, body: bytes) -> tuple[str, float]:
    """Return a token and its lifetime in seconds.

    Raises NoToken, which quotes nothing of the response but its error code: the rest may be secret.
    """
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    document = document if isinstance(document, dict) else {}
    if status != OK:
        code = document.get("error")
        code = code if isinstance(code, str) and CODE.fullmatch(code) else None
        raise errors.NoToken(f"answered {status}" + (f" ({code})" if code else ""), status=status, code=code)
    token, kind = document.get("access_token"), document.get("token_type", "bearer")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise errors.NoToken("answered 200 without an access_token", status=status)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise errors.NoToken("answered with a token that is not a bearer token", status=status)
    return token, _lifetime(document.get("expires_in"))


def _lifetime(expires_in: object) -> float:
    try:
        return max(float(expires_in), 0.0) if isinstance(expires_in, int | float | str) else DEFAULT_LIFETIME
    except ValueError:
        return DEFAULT_LIFETIME
