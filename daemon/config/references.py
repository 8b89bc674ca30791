"""References in strings: ``${NAME}``, ``${NAME:-default}`` and ``${file:/path}``; ``$${`` is a plain ``${``."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.document import Place, Tree

CREDENTIALS = "/run/credentials/"
LARGEST_VALUE = 64 * 1024
# Inside a reference no other one begins, so that the search never goes over the same text twice.
REFERENCE = re.compile(r"\$\$\{|\$\{((?:[^}$]|\$(?!\{))*)\}|\$\{")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SYNTAX = "write ${NAME}, ${NAME:-default} or ${file:/path}; $${ stands for a plain ${"


def replaced(text: str, place: Place, tree: Tree, environ: Mapping[str, str]) -> str:
    """Return the text with its references replaced; all that cannot be resolved are recorded as one mistake."""
    references = _References(environ, tree.origins)
    result = REFERENCE.sub(references.value, text)
    if references.count:
        tree.computed.add(place)
    if references.origins:
        tree.sources[place] = ", ".join(references.origins)
    if references.complaints:
        tree.mistake(place, "; ".join(references.complaints))
    return result


def reason(path: str, error: OSError) -> str:
    """Return why a file cannot be read, with a remedy if systemd should have put it there."""
    text = os.strerror(error.errno or 0)
    if not path.startswith(CREDENTIALS) or error.errno != errno.ENOENT:
        return text
    return (
        f"{text} (check that LoadCredential={Path(path).name}:… in the unit names a file that exists, and restart "
        "the service; only the service itself gets its credentials, and in some containers systemd cannot mount them)"
    )


def emptiness(path: str) -> str | None:
    """Return why an empty file is a mistake, if systemd should have put a secret there."""
    if not path.startswith(CREDENTIALS):
        return None
    return (
        f"is empty (check that the file which LoadCredential={Path(path).name}:… in the unit names has content, and "
        "restart the service; a reload does not copy credentials again)"
    )


class _References:
    """A resolver for the references of one text, which collects complaints about the unresolved ones."""

    def __init__(self, environ: Mapping[str, str], origins: Mapping[str, str]) -> None:
        self._environ = environ
        self._origins = origins
        self.origins: list[str] = []
        self.count = 0
        self.complaints: list[str] = []

    def value(self, match: re.Match[str]) -> str:
        """Return the value of a reference."""
        if match.group(0) == "$${":
            return "${"
        self.count += 1
        reference = match.group(1)
        if reference is None:
            return self._complain(f"a ${{ without its closing brace, or with another reference inside ({SYNTAX})")
        if reference.startswith("file:/"):
            return self._content(reference.removeprefix("file:"))
        if reference.startswith("file:") and not reference.startswith("file:-"):
            return self._complain("a reference to a file needs the file's absolute path (write ${file:/path/to/file})")
        return self._variable(*reference.partition(":-"))

    def _variable(self, name: str, separator: str, default: str) -> str:
        if not NAME.fullmatch(name) or "${" in default:
            return self._complain(f"an invalid reference ({SYNTAX})")
        value = self._environ.get(name)
        if name in self._origins:
            self.origins.append(self._origins[name])
        if value or (value is not None and not separator):
            return value
        if separator:
            return default
        return self._complain(
            f"the environment variable {name} is not set"
            f" (set it or write it into pagerelay.env, or use ${{file:/path}} or ${{{name}:-default}})"
        )

    def _content(self, path: str) -> str:
        """Return the content of a file without the newline at its end."""
        try:
            mode = Path(path).stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe that nobody writes would keep us waiting
                return self._complain(f"the file {path} cannot be read: it is not a regular file")
            with Path(path).open(encoding="utf-8") as file:
                content = file.read(LARGEST_VALUE + 1)
        except OSError as error:
            return self._complain(f"the file {path} cannot be read: {reason(path, error)}")
        except ValueError:
            return self._complain(f"the file {path} cannot be read: it is not valid UTF-8")
        if len(content) > LARGEST_VALUE:
            return self._complain(f"the file {path} cannot be read: it is longer than {LARGEST_VALUE} characters")
        if not content.strip() and (problem := emptiness(path)):
            return self._complain(f"the file {path} {problem}")
        return content.rstrip("\r\n")

    def _complain(self, what: str) -> str:
        if what not in self.complaints:
            self.complaints.append(what)
        return ""
