"""The HTTP API of the daemon that the configuration describes, as the command line asks it.

Nobody has to answer there: the command line can do without. So whatever is no answer of
pagerelay's is none at all, and what was asked for is asked in another way.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from daemon import errors
from daemon.cli import show as terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.model import Json
    from daemon.settings import Settings

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 15.0
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - an address to replace, not to listen on


class Remote:
    """A daemon's API at ``url``."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=f"{url}/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # the token is nothing for a proxy
            follow_redirects=False,
        )

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Json | None:
        """One request, which may take ``patience`` seconds longer; None if no daemon of ours answers.

        Raises UsageError, KeyReused or PagerelayError with the daemon's own words.
        """
        timeout = httpx.Timeout(ANSWER_SECONDS + patience, connect=CONNECT_SECONDS)
        try:
            answer = self._http.request(method, path, params=query, json=body, headers=headers, timeout=timeout)
        except httpx.HTTPError:
            return None
        found = _json(answer)
        if answer.is_success:
            return found
        if answer.status_code == HTTPStatus.NOT_FOUND:  # a daemon of another version, or with another configuration
            return None
        if answer.status_code in REFUSED:
            terminal.note(f"{self.url} does not take the configured api.token (restart the daemon that runs there?)")
            return None
        if found is None or "detail" not in found:
            return None
        raise _error(self.url, answer.status_code, str(found["detail"]))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def of(settings: Settings) -> Remote | None:
    """The API that the configuration describes; None if it describes none that could be asked."""
    api = settings.api
    if api is None or api.port == 0 or api.token is None:
        return None
    host = EVERYWHERE.get(api.host, api.host)
    return Remote(f"http://{f'[{host}]' if ':' in host else host}:{api.port}", api.token.get_secret_value())


def _json(answer: httpx.Response) -> Json | None:
    try:
        found: Any = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _error(url: str, status: int, detail: str) -> errors.PagerelayError:
    """The daemon's refusal. What is wrong for it and right for us, it has not read: another configuration."""
    match status:
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return errors.UsageError(f"the daemon at {url} refuses: {detail} (restart it if the configuration is new)")
        case HTTPStatus.CONFLICT:
            return errors.KeyReused(detail)
        case _:
            return errors.PagerelayError(f"the daemon at {url}: {detail}")
