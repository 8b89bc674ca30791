"""docs/simulator.md: its verbs and paths are those that there are, and its configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daemon import config, triggers
from daemon.simulator import Account, controls, server

TEXT = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_verb_is_documented_with_its_options() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ?([^|]*?) ?\| ", TEXT, re.MULTILINE)
    documented = {verb: tuple(re.findall(r"\w+", takes)) for verb, takes in rows}
    known = {verb: each.takes for verb, each in controls.VERBS.items()}
    assert documented.items() <= ({"trigger": controls.TRIGGER} | known).items()
    assert known.keys() - documented.keys() <= triggers.VERBS.keys()  # which the simulator lists itself


def test_an_unknown_verb_is_refused_with_all_verbs_and_their_options() -> None:
    with pytest.raises(controls.UnknownError) as unknown:
        controls.apply(Account(), {"do": "explode"})
    assert unknown.value.known == ["trigger", *controls.VERBS]
    with pytest.raises(ValueError, match="only incident, by, name, value"):
        controls.apply(Account(), {"do": "change_field", "colour": "red"})


def test_every_path_is_documented() -> None:
    documented = set(re.findall(r"`((?:GET|POST) /simulator/\w+)`", TEXT))
    assert documented == server.CONTROLS.keys()


def test_the_shown_configuration_is_valid_and_points_to_the_simulator(tmp_path: Path) -> None:
    whole, with_app = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    path = tmp_path / "config.yaml"
    for shown in (whole, re.sub(r"^connections:\n(?: .*\n)+", with_app, whole, flags=re.MULTILINE)):
        path.write_text(shown, encoding="utf-8")
        settings = config.load(path, {})
        assert {each.api_url for each in settings.connections.values()} == {"http://127.0.0.1:8422"}
        assert settings.triggers
