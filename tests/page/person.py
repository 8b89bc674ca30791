"""Somebody with a browser without JavaScript, in this process: reads pages, follows redirections, sends forms."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import httpx

from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

ADDRESS = "http://localhost"


@dataclass
class Form:
    """A form of a page: where it goes, and its fields with their present values."""

    method: str
    action: str
    fields: dict[str, str]
    options: dict[str, list[str]]
    label: str = ""


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = ""
        self._in_button = self._in_form = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._in_form = True
            self.forms.append(Form(values.get("method", "get"), values.get("action", ""), {}, {}))
        elif not self._in_form:
            return
        elif tag in {"input", "textarea"} and "name" in values:
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "select":
            self._select = values["name"]
            self.forms[-1].fields[self._select] = ""
            self.forms[-1].options[self._select] = []
        elif tag == "option" and self._select:
            self.forms[-1].options[self._select].append(values.get("value", ""))
            if "selected" in values:
                self.forms[-1].fields[self._select] = values.get("value", "")
        elif tag == "button":
            self._in_button = not self.forms[-1].label  # Enter presses the first one

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        if tag == "select":
            self._select = ""
        if tag == "button":
            self._in_button = False

    def handle_data(self, data: str) -> None:
        if self._in_button and self._in_form:
            self.forms[-1].label += data.strip()


class Person:
    """A browser's session."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def sign_in(self, token: str = sample_data.TOKEN, **fields: str) -> httpx.Response:
        return await self.http.post("/sign-in", data={"token": token} | fields)

    async def read(self, path: str, status: int = 200) -> str:
        """Return the text of a page."""
        response = await self.http.get(path)
        assert response.status_code == status, response.text
        return response.text

    async def forms(self, path: str) -> list[Form]:
        return forms_in(await self.read(path))

    async def press(self, path: str, label: str, **fields: str) -> httpx.Response:
        """Press a button of a page; return the response."""
        (form,) = [each for each in await self.forms(path) if each.label == label]
        return await self.send(form, **fields)

    async def send(self, form: Form, **fields: str) -> httpx.Response:
        return await self.http.post(form.action, data=form.fields | fields)


def forms_in(text: str) -> list[Form]:
    parser = _Forms()
    parser.feed(text)
    return parser.forms


@contextlib.asynccontextmanager
async def visiting(app: FastAPI, token: str | None = sample_data.TOKEN) -> AsyncIterator[Person]:
    """Yield somebody who has signed in, unless ``token`` is None."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as http:
        person = Person(http)
        if token is not None:
            assert (await person.sign_in(token)).status_code == 303
        yield person
