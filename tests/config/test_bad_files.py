"""Bad configurations, one file per mistake in ``bad/``, named after it.

The lines that ``pagerelay check`` prints about a file stand at its top as ``#> …``, and as
``#env NAME=value`` what the environment has to hold.
"""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from daemon import config
from tests.cli.conftest import invoke
from tests.config import keys

BAD = Path(__file__).parent / "bad"
FILES = sorted(path.name for path in BAD.iterdir())


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that messages name the file without a path."""
    monkeypatch.chdir(BAD)


@pytest.mark.parametrize("name", FILES)
def test_check_prints_exactly_one_line_per_mistake_with_line_key_and_remedy(name: str) -> None:
    text = Path(name).read_text(encoding="utf-8")
    expected = re.findall(r"^#> (.+)$", text, flags=re.MULTILINE)
    environment = dict(re.findall(r"^#env (\w+)=(.*)$", text, flags=re.MULTILINE))
    result = invoke("check", "--config", name, **environment)
    assert result.stderr.splitlines() == expected
    assert (result.exit_code, result.stdout) == (2, "")
    assert expected
    assert "canary" not in result.output


def test_every_common_mistake_has_a_file() -> None:
    assert len(FILES) >= 32
    assert all(re.fullmatch(r"[a-z0-9-]+\.yaml", name) for name in FILES)


def test_the_schema_rejects_most_of_these_files() -> None:
    readable = {name: values for name in FILES if (values := keys.unreplaced(Path(name)))}
    seen = [
        name
        for name, values in readable.items()
        if not jsonschema.Draft202012Validator(config.schema()).is_valid(values)
    ]
    assert len(seen) > len(readable) / 2
    assert {"unknown-key-of-a-trigger.yaml", "api-key-missing.yaml", "duration-in-words.yaml"} <= set(seen)
