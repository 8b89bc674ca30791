"""docs/receivers.md: its recipes fit their receivers, and its snippets verify real requests."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from pydantic import SecretStr

from daemon import config, formats
from daemon.formats import samples, standard, template
from daemon.outbound import signing
from daemon.outbound.sender import Sender
from daemon.settings import Target
from tests.formats.rendered import BARE, EVENTS, content
from tests.harness.receivers import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = (Path(__file__).parent.parent.parent / "docs" / "receivers.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^#### ([^\n]+)\n(?:(?!^####).)*?```jinja\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))
SNIPPETS = {
    language: re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for language in ("python", "js", "go", "sh")
}
# Tried by hand against real headers, with Node 20 and OpenSSL 3; Go was read, not run. Try them again when they change.
PINNED = {
    "js": "f228304751a3253f",
    "go": "19cb0cc4abc0f09e",
    "sh": "ec478ccc14bbb35c",
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[template.Renderer]:
    process = template.Renderer()
    yield process
    process.close()


def long(message: Any) -> Any:
    """Return the same event with very long texts."""
    event = samples.event_of(message)
    payload = event.payload | {"incident": event.payload["incident"] | {"title": "é" * 6000}}
    if payload["note"] is not None:
        payload["note"] = payload["note"] | {"content": "x" * 9000}
    return replace(message, about=replace(event, payload=payload))


def slack(made: Any) -> None:
    assert 0 < len(made["text"]) <= 4000
    assert 0 < len(made["blocks"]) <= 50
    assert not re.search(r"[<>]", made["text"])
    for block in made["blocks"]:
        match block["type"]:
            case "header":
                assert 0 < len(block["text"]["text"]) <= 150
            case "section":
                assert 0 < len(block["text"]["text"]) <= 3000
            case "context":
                assert 0 < len(block["elements"]) <= 10
                assert all(0 < len(element["text"]) <= 2000 for element in block["elements"])
            case "actions":
                (button,) = block["elements"]
                assert (button["type"], button["url"][:8]) == ("button", "https://")
                assert 0 < len(button["text"]["text"]) <= 75
            case other:
                pytest.fail(other)
    assert all(text["type"] == "plain_text" for block in made["blocks"] if (text := block.get("text")) is not None)


def teams(made: Any) -> None:
    assert made["type"] == "message"
    (attachment,) = made["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {part["type"] for part in card["body"]} <= {"TextBlock", "FactSet"}
    for part in card["body"]:
        facts = part.get("facts", [])
        assert all(fact["title"] and fact["value"] for fact in facts) if facts else part["text"]
    assert all(action["type"] == "Action.OpenUrl" and action["url"] for action in card["actions"])
    assert len(json.dumps(made).encode()) < 28 * 1024


def discord(made: Any) -> None:
    assert len(made["content"]) <= 2000
    assert 0 < len(made["embeds"]) <= 10
    (embed,) = made["embeds"]
    assert 0 < len(embed["title"]) <= 256
    assert 0 < len(embed["description"]) <= 4096
    assert 0 <= embed["color"] <= 0xFFFFFF
    assert len(embed["title"]) + len(embed["description"]) <= 6000
    assert made["allowed_mentions"] == {"parse": []}


def google(made: Any) -> None:
    assert made["thread"]["threadKey"] == "PTESTINCIDENT"
    (card,) = made["cardsV2"]
    assert card["cardId"]
    assert card["card"]["header"]["title"]
    (section,) = card["card"]["sections"]
    assert {key for widget in section["widgets"] for key in widget} <= {"textParagraph", "buttonList"}
    assert section["widgets"][0]["textParagraph"]["text"]
    assert len(json.dumps(made).encode()) < 32_000


def mattermost(made: Any) -> None:
    (attachment,) = made["attachments"]
    assert attachment["fallback"]
    assert re.fullmatch(r"#[0-9a-f]{6}", attachment["color"])
    assert len(attachment["text"]) <= 4000
    assert "@c" not in attachment["text"]
    assert all(field["title"] and field["value"] for field in attachment["fields"])


def ntfy(made: Any) -> None:
    assert re.fullmatch(r"[-_A-Za-z0-9]{1,64}", made["topic"])
    assert 0 < len(made["message"].encode()) <= 4096
    assert made["title"]
    assert made["priority"] in range(1, 6)
    assert all(isinstance(tag, str) for tag in made["tags"])


RECEIVERS: dict[str, Callable[[Any], None]] = {
    "Slack": slack,
    "Microsoft Teams": teams,
    "Discord": discord,
    "Google Chat": google,
    "Mattermost": mattermost,
    "ntfy": ntfy,
}


def test_every_recipe_is_tested() -> None:
    assert RECIPES.keys() == RECEIVERS.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_passes_the_check_and_produces_the_body_of_its_receiver(
    name: str, renderer: template.Renderer, tmp_path: Path
) -> None:
    (tmp_path / "recipe.j2").write_text(RECIPES[name], encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        f"""
connections: {{acme: {{api_key: a-key}}}}
targets:
  chat:
    url: https://hooks.example.com/in
    secret: {SECRET}
    format: template
    template: ${{file:{tmp_path}/recipe.j2}}
triggers:
  all: {{on: incident.*, to: [chat]}}
""",
        encoding="utf-8",
    )
    text = config.load(tmp_path / "config.yaml", {}).targets["chat"].options.template
    assert text is not None
    for message in (*EVENTS, *BARE, *map(long, EVENTS)):
        made = json.loads(renderer.render(text, standard.document(message)))
        RECEIVERS[name](made)


def test_every_format_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| .* \| (yes|no) \|$", TEXT, re.MULTILINE)
    expected = {name: "yes" if kind.supports("action.failed") else "no" for name, kind in formats.REGISTRY.items()}
    assert dict(rows) == expected
    assert [name for name in formats.REGISTRY if f"\n### {name}\n" not in TEXT] == []


def test_the_documented_event_data_is_complete_and_exact() -> None:
    table = TEXT.partition("\n| in `data` | |\n")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == list(dict.fromkeys(key for message in EVENTS for key in standard.document(message)["data"]))


def sent(name: str = "standard", *secrets: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a request as currently sent."""
    made = content(name, samples.event("incident.triggered"))
    signed_with = tuple(SecretStr(each) for each in secrets or ("whsec_" + "B" * 32, SECRET))
    target = Target("ops", SecretStr("http://127.0.0.1:9/"), signed_with, name)
    headers = Sender(target, formats.signing(target)).headers("msg_1", made, int(time.time()))
    return {name.lower(): value for name, value in headers.items()}, made.body  # as servers give them


def genuine_in(number: int) -> Any:
    """Return the function of a snippet in Python."""
    namespace: dict[str, Any] = {}
    exec(SNIPPETS["python"][number], namespace)
    return namespace["is_genuine"]


@pytest.mark.parametrize(("number", "name"), [(0, "standard"), (1, "pagerduty-v3")])
def test_the_python_snippets_verify_signatures(number: int, name: str) -> None:
    headers, body = sent(name)
    is_genuine = genuine_in(number)
    assert is_genuine(SECRET, headers, body)
    assert not is_genuine(SECRET, headers, body + b" ")
    assert not is_genuine("whsec_" + "A" * 32, headers, body)
    if name == "standard":
        assert not is_genuine(SECRET, headers | {"webhook-timestamp": "1"}, body)


def test_the_python_snippet_for_key_pairs_verifies_signatures_among_those_of_all_kinds() -> None:
    pairs = ["whsk_" + each * 43 + "=" for each in "AEI"]
    old, new, other = signing.public_keys(pairs)
    headers, body = sent("standard", pairs[1], SECRET, pairs[0])
    is_genuine = genuine_in(2)
    assert is_genuine(old, headers, body)
    assert is_genuine(new, headers, body)
    assert not is_genuine(other, headers, body)
    assert not is_genuine(old, headers, body + b" ")
    assert not is_genuine(old, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body)
    for forged in ("", "v1a", "v1a,", "v1a,AAAA v1a,!", headers["webhook-signature"].replace("v1a,", "v1,")):
        assert not is_genuine(old, headers | {"webhook-signature": forged}, body)
    late = str(int(time.time()) - 301)
    signed = signing.signature([signing.key(pairs[0])], "msg_1", int(late), body)
    assert not is_genuine(old, headers | {"webhook-timestamp": late, "webhook-signature": signed}, body)


def test_the_other_snippets_are_those_that_were_tested() -> None:
    hashes = {each: hashlib.sha256(SNIPPETS[each][0].encode()).hexdigest()[:16] for each in PINNED}
    assert hashes == PINNED
    assert [len(SNIPPETS[each]) for each in ("python", *PINNED)] == [3, 1, 1, 1]


def test_the_shell_snippet_verifies_signatures_where_openssl_is_installed(tmp_path: Path) -> None:
    """Elsewhere its pinned text stands for it."""
    headers, body = sent()
    for text, verdict in ((body, "genuine"), (body + b" ", "forged")) if shutil.which("openssl") else ():
        (tmp_path / "body").write_bytes(text)
        given = {
            "SECRET": SECRET,
            "ID": headers["webhook-id"],
            "TIMESTAMP": headers["webhook-timestamp"],
            "SIGNATURE": headers["webhook-signature"],
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        done = subprocess.run(
            ["sh", "-c", SNIPPETS["sh"][0]], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
        )
        assert (done.stdout.strip(), done.returncode) == (verdict, int(verdict == "forged"))


HOSTILE = (
    "disk_full on db_1 *prod* [click](https://evil.example) <https://a.example> `x` ~~y~~ # 1. - > | & &lt; \\ @channel"
)


def hostile(message: Any) -> Any:
    """Return the same event with Markdown in every text that somebody else wrote."""
    event = samples.event_of(message)
    incident = event.payload["incident"] | {"title": HOSTILE, "service": {"id": "P1", "summary": HOSTILE}}
    payload = event.payload | {"incident": incident, "agent": {"id": "P2", "summary": HOSTILE}}
    if payload["note"] is not None:
        payload["note"] = payload["note"] | {"content": HOSTILE}
    return replace(message, about=replace(event, payload=payload))


def shown_by_markdown(text: str) -> str:
    """Return what a reader sees of a text in Markdown; fail if anything but text is rendered."""
    rendered = MarkdownIt("commonmark", {"linkify": False}).enable(["strikethrough", "table"]).render(text)
    paragraph = re.fullmatch(r"<p>([^<>]*)</p>\n", rendered)
    assert paragraph, rendered
    return html.unescape(paragraph[1]).replace("\u200b", "")


def markdown_texts(name: str, body: Any) -> list[str]:
    """Return the texts of a recipe's body that its receiver renders as Markdown and that contain others' text."""
    match name:
        case "Microsoft Teams":
            parts = body["attachments"][0]["content"]["body"]
            blocks = [part["text"] for part in parts if part["type"] == "TextBlock"]
            return blocks + [fact["value"] for part in parts for fact in part.get("facts", ())]
        case "Discord":
            return [body["embeds"][0]["title"], body["embeds"][0]["description"]]
        case _:
            attachment = body["attachments"][0]
            return [attachment["title"], attachment["text"], *(field["value"] for field in attachment["fields"])]


@pytest.mark.parametrize("name", ["Microsoft Teams", "Discord", "Mattermost"])
def test_markdown_in_other_peoples_texts_is_shown_as_it_is_written(name: str, renderer: template.Renderer) -> None:
    seen = set()
    for message in map(hostile, EVENTS):
        body = json.loads(renderer.render(RECIPES[name], standard.document(message)))
        seen |= {shown_by_markdown(text) for text in markdown_texts(name, body) if text}
    assert HOSTILE in seen
    assert not any("click" in text and text != HOSTILE for text in seen)


def test_the_slack_recipe_has_no_markup_from_other_peoples_texts(renderer: template.Renderer) -> None:
    body = json.loads(renderer.render(RECIPES["Slack"], standard.document(hostile(EVENTS[0]))))
    assert body["mrkdwn"] is False
    assert "&lt;https://a.example&gt; " in body["text"]


@pytest.mark.parametrize(
    ("used", "shown"),
    [
        ("markdown", "a\\_b \\*c\\* \\[d\\]\\(e\\) \\@all"),
        ("mattermost", "a\\_b \\*c\\* \\[d\\]\\(e\\) \\@\u200ball"),
        ("slack", "a_b *c* [d](e) @all"),
    ],
)
def test_users_templates_have_a_filter_for_each_dialect(used: str, shown: str, renderer: template.Renderer) -> None:
    body = renderer.render(f"{{{{ text | {used} | tojson }}}}", {"text": "a_b *c* [d](e) @all"})
    assert json.loads(body) == shown


def test_a_text_of_punctuation_only_stays_within_the_limits_of_every_receiver(renderer: template.Renderer) -> None:
    for name, check in RECEIVERS.items():
        for message in EVENTS:
            event = samples.event_of(message)
            payload = event.payload | {"incident": event.payload["incident"] | {"title": "*" * 6000}}
            if payload["note"] is not None:
                payload["note"] = payload["note"] | {"content": "*" * 9000}
            document = standard.document(replace(message, about=replace(event, payload=payload)))
            check(json.loads(renderer.render(RECIPES[name], document)))
