"""The program of the process that renders templates: it may be killed whenever it computes too long.

It runs this file alone, which the daemon never imports. It reads requests from its input and writes
answers to its output, each a line of JSON, until its input ends. A request has ``template``, ``document``
and ``strict``; an answer ``body``, or ``error`` and perhaps ``line``. Whatever a template does, it costs no
more than this process: its memory, and its processor time for a request, are bounded by the system itself.
"""

from __future__ import annotations

import contextlib
import json
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
NOT_STABLE = ("random",)  # every attempt has to send the same bytes
NAME = "<template>"  # what the library calls a template made of a text


class Missing(StrictUndefined):
    """What a strict rendering finds where there is nothing: it may be asked whether it is there, no more."""

    __bool__ = Undefined.__bool__  # type: ignore[assignment]  # StrictUndefined forbids it


def answers(given: BinaryIO, out: BinaryIO, seconds: float, largest: int) -> None:
    """Answer requests until there are no more; one that takes more processor time ends the process."""
    environments = {True: environment(Missing), False: environment(ChainableUndefined)}
    compiled: dict[tuple[str, bool], Any] = {}
    for line in given:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            key = request["template"], request["strict"]
            if key not in compiled:
                compiled[key] = environments[key[1]].from_string(key[0])
            answer: Mapping[str, Any] = {"body": _json(compiled[key].render(request["document"]), largest)}
        except Exception as error:  # noqa: BLE001 - a template may raise anything, and its author is to hear of it
            answer = {"error": _explained(error), "line": _line(error)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()


def environment(missing: type[Undefined]) -> ImmutableSandboxedEnvironment:
    """Where a template runs: values, filters and tests, but no way to the program around it."""
    made = ImmutableSandboxedEnvironment(undefined=missing)
    for name in NOT_STABLE:
        del made.filters[name]
    made.globals.pop("lipsum")
    made.filters["tojson"] = _tojson
    return made


def _tojson(value: object) -> str:
    """The value as JSON; what is not there is null."""
    return json.dumps(value, ensure_ascii=False, default=_null)


def _null(value: object) -> None:
    if not isinstance(value, Undefined):
        raise TypeError(f"a {type(value).__name__} is nothing that JSON has")
    if isinstance(value, Missing):
        value._fail_with_undefined_error()  # noqa: SLF001 - made to be called by subclasses and filters


def _json(text: str, largest: int) -> str:
    """What a template gave, as compact JSON of so many bytes at most."""
    if not text.strip():
        raise ValueError("gives nothing")
    try:
        told = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno}, column {error.colno} of its output"
        raise ValueError(f"does not render valid JSON: {where} (write values as {{{{ value | tojson }}}})") from None
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    if len(body.encode()) > largest:
        raise ValueError(f"gives more than {largest // 1024} KiB")
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"does not render valid JSON: {name} is not a valid number")


def _explained(error: Exception) -> str:
    match error:
        case MemoryError():
            return "needs more memory than it may have"
        case RecursionError():
            return "calls itself too often, or is nested too deeply"
        case UnicodeEncodeError():
            return "gives text that is no Unicode"
        case _:
            flat = " ".join(str(error)[:LONGEST_ERROR].split())
            return "".join(each if each.isprintable() else "\ufffd" for each in flat) or type(error).__name__


def _line(error: Exception) -> int | None:
    """The line of the template that an error comes from."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, place = None, error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == NAME:
            line = place.tb_lineno
        place = place.tb_next
    return line


def main(seconds: float, memory: int, largest: int) -> None:
    """Bound what this process may cost, and answer until the daemon is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the daemon, which may still have something to send
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):  # where that is forbidden, or bounded more tightly already
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    answers(sys.stdin.buffer, sys.stdout.buffer, seconds, largest)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
