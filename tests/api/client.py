"""An HTTP client that talks to the API in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.harness import sample_data

if TYPE_CHECKING:
    from fastapi import FastAPI


def client_of(app: FastAPI, *, token: str | None = sample_data.TOKEN) -> httpx.AsyncClient:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)
