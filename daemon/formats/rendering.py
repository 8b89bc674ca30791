"""The program that renders templates in a process of its own, which is killed if a template takes too long.

The daemon never imports this file. The program reads requests from standard input and writes responses to standard
output, one line of JSON each, until its input ends. A request has ``template``, ``document`` and ``strict``; a
response has ``body``, or ``error`` and perhaps ``line``. The operating system limits the memory of the process and its
processor time per request, so a bad template harms only this process.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import ChainableUndefined, StrictUndefined, TemplateSyntaxError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

LONGEST_ERROR = 300
PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")  # of ASCII: a backslash before it is never shown
NOT_STABLE = ("random",)  # filters that would change the body between attempts
NAME = "<template>"  # Jinja's file name for templates from strings


class Missing(StrictUndefined):
    """A missing value in strict rendering: testing whether it exists is allowed, any other use is an error."""

    __bool__ = Undefined.__bool__  # type: ignore[assignment]  # StrictUndefined forbids it


def serve(requests: BinaryIO, responses: BinaryIO, seconds: float, largest: int) -> None:
    """Respond to requests until there are no more. One that takes more processor ``seconds`` ends the process."""
    environments = {True: environment(Missing), False: environment(ChainableUndefined)}
    compiled: dict[tuple[str, bool], Any] = {}
    for line in requests:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            key = request["template"], request["strict"]
            if key not in compiled:
                compiled[key] = environments[key[1]].from_string(key[0])
            response: Mapping[str, Any] = {"body": _json(compiled[key].render(request["document"]), largest)}
        except Exception as error:  # noqa: BLE001 - a template may raise anything, and its author needs the message
            response = {"error": _explained(error), "line": _line(error)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        responses.write(json.dumps(response).encode() + b"\n")
        responses.flush()


def environment(missing: type[Undefined]) -> ImmutableSandboxedEnvironment:
    """Return a sandbox for templates: values, filters and tests, but no access to the program."""
    sandbox = ImmutableSandboxedEnvironment(undefined=missing)
    for name in NOT_STABLE:
        del sandbox.filters[name]
    sandbox.globals.pop("lipsum")
    sandbox.filters["tojson"] = _tojson
    sandbox.filters["markdown"] = _markdown
    sandbox.filters["mattermost"] = _mattermost
    sandbox.filters["slack"] = _slack
    return sandbox


def _tojson(value: object) -> str:
    """Return a value as JSON, a missing one as null."""
    return json.dumps(value, ensure_ascii=False, default=_null)


def _markdown(value: object) -> str:
    """Return a text that Markdown (Teams, Discord, CommonMark) shows as it is: no links, no emphasis, no lists."""
    return PUNCTUATION.sub(r"\\\g<0>", str(value))


def _mattermost(value: object) -> str:
    """Return a text that Mattermost shows as it is, and that mentions nobody."""
    return _markdown(value).replace("@", "@\u200b")


def _slack(value: object) -> str:
    """Return a text that Slack's mrkdwn shows without links and mentions; it knows no escape for ``*`` and ``_``."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _null(value: object) -> None:
    if not isinstance(value, Undefined):
        raise TypeError(f"a {type(value).__name__} cannot be converted to JSON")
    if isinstance(value, Missing):
        value._fail_with_undefined_error()  # noqa: SLF001 - meant to be called by subclasses and filters


def _json(text: str, largest: int) -> str:
    """Return the output of a template as compact JSON of at most ``largest`` bytes."""
    if not text.strip():
        raise ValueError("renders no output")
    try:
        value = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno}, column {error.colno} of its output"
        raise ValueError(f"does not render valid JSON: {where} (write values as {{{{ value | tojson }}}})") from None
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(body.encode()) > largest:
        raise ValueError(f"renders more than {largest // 1024} KiB")
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"does not render valid JSON: {name} is not a valid number")


def _explained(error: Exception) -> str:
    match error:
        case MemoryError():
            return "exceeds its memory limit"
        case RecursionError():
            return "calls itself too often, or is nested too deeply"
        case UnicodeEncodeError():
            return "renders text that is not valid Unicode"
        case _:
            flat = " ".join(str(error)[:LONGEST_ERROR].split())
            return "".join(each if each.isprintable() else "\ufffd" for each in flat) or type(error).__name__


def _line(error: Exception) -> int | None:
    """Return the line of the template that caused an error, if known."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, place = None, error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == NAME:
            line = place.tb_lineno
        place = place.tb_next
    return line


def main(seconds: float, memory: int, largest: int) -> None:
    """Limit this process, and respond to requests until the daemon is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the daemon, which may still need this process
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):  # not allowed, or already limited further
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    serve(sys.stdin.buffer, sys.stdout.buffer, seconds, largest)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
