"""Configurations made for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from daemon import config, errors

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings

MINIMAL = """
connections:
  acme: {api_key: a-key}
targets:
  ops: {url: "https://hooks.example.com/in", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz}
"""


class Load(Protocol):
    """Loads a text as configuration, with these environment variables and no others."""

    def __call__(self, text: str, **environment: str) -> Settings: ...


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, **environment: str) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return config.load(path, environment)

    return load


def mistakes(load: Load, text: str, **environment: str) -> list[str]:
    """Return the mistakes of a text, without the file's path."""
    with pytest.raises(errors.ConfigurationError) as caught:
        load(text, **environment)
    return [line.partition("config.yaml:")[2] or line for line in caught.value.mistakes]
