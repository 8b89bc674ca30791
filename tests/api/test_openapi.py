"""The OpenAPI document is part of the contract: a copy lies in docs/, and a change of it is a decision.

Write it anew with ``python -m tests.api.test_openapi``.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import openapi_spec_validator

from daemon import api
from daemon.storage.database import Database
from tests.harness import sample_data

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


@functools.cache
def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/none.db"
        database = Database(url)
        schema = api.create(database, api.Current(sample_data.settings(Path(folder), url))).openapi()
        database.close()
    return schema


def test_the_document_in_docs_is_identical_to_the_served_one() -> None:
    assert json.loads(SNAPSHOT.read_text()) == document(), "run: python -m tests.api.test_openapi"


def test_the_document_is_valid() -> None:
    openapi_spec_validator.validate(document())


def test_every_error_is_described_as_a_problem_document() -> None:
    described = [
        (path, status, list(response["content"]))
        for path, operations in document()["paths"].items()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if status >= "4"
    ]
    assert len(described) > 20
    assert [each for each in described if each[2] != ["application/problem+json"]] == []


def test_every_path_under_v1_requires_the_token() -> None:
    paths = document()["paths"]
    open_to_all = {path for path, methods in paths.items() for each in methods.values() if "security" not in each}
    assert open_to_all == {"/healthz", "/readyz", "/metrics"}


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(document(), indent=2) + "\n")
