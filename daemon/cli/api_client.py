"""A client for the HTTP API of the daemon that the configuration describes.

The command line works without a daemon, so a response that does not come from pagerelay counts as none.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from daemon import errors
from daemon.cli import agreement, terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.model import Json
    from daemon.settings import Settings

CONNECT_SECONDS = 1.0
CONFIG_HEADER = "Pagerelay-Config-Hash"
RESPONSE_SECONDS = 15.0
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - an address to replace, not to listen on


class ApiClient:
    """A client for a daemon's API at ``url``."""

    def __init__(self, url: str, token: str, settings: Settings | None) -> None:
        self.url = url
        self._settings = settings  # until it is compared with the daemon's
        self._http = httpx.Client(
            base_url=f"{url}/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(RESPONSE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # a proxy must not see the token
            verify=url.startswith("https:"),  # a context that nobody uses costs tens of milliseconds
            follow_redirects=False,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Json | None:
        """Send a request and return the response, or None if no pagerelay daemon responds.

        ``patience`` is added to the time limit, in seconds. Raises UsageError, KeyReused or PagerelayError with the
        daemon's message.
        """
        timeout = httpx.Timeout(RESPONSE_SECONDS + patience, connect=CONNECT_SECONDS)
        try:
            response = self._http.request(method, path, params=query, json=body, headers=headers, timeout=timeout)
        except httpx.HTTPError:
            return None
        content = _json(response)
        if response.is_success:
            self._compare(response)
            return content
        if response.status_code == HTTPStatus.NOT_FOUND:  # a daemon of another version, or with another configuration
            return None
        if response.status_code in REFUSED:
            terminal.note(f"{self.url} does not accept the configured api.token (restart the daemon there)")
            return None
        if content is None or "detail" not in content:
            return None
        raise _error(self.url, response.status_code, str(content["detail"]))

    def _compare(self, response: httpx.Response) -> None:
        """Warn once if the daemon runs with a different configuration."""
        if self._settings is not None:
            agreement.check(self._settings, response.headers.get(CONFIG_HEADER), f"at {self.url}")
            self._settings = None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def connect(settings: Settings, *, compare: bool = True) -> ApiClient | None:
    """Return a client for the configured API, or None if the configuration has no usable one.

    ``compare``: warn if the daemon runs with a different configuration.
    """
    api = settings.api
    if api is None or api.port == 0 or api.token is None:
        return None
    host = EVERYWHERE.get(api.host, api.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{api.port}"
    return ApiClient(url, api.token.get_secret_value(), settings if compare else None)


def _json(response: httpx.Response) -> Json | None:
    try:
        content: Any = response.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _error(url: str, status: int, detail: str) -> errors.PagerelayError:
    """Return a refusal as an error. What only the daemon finds wrong, it has from an older configuration."""
    match status:
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return errors.UsageError(
                f"the daemon at {url} rejected the request: {detail} (restart it if the files have changed)"
            )
        case HTTPStatus.CONFLICT:
            return errors.Conflict(detail)
        case _:
            return errors.PagerelayError(f"the daemon at {url}: {detail}")
