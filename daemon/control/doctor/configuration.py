"""The configuration: it is loaded already, so only hints are left, or the mistakes that prevented loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.control.doctor.finding import Diagnosis, Topic, split

if TYPE_CHECKING:
    from daemon import errors
    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding

NAME = "configuration"


async def check(examination: Examination) -> list[Finding]:
    """Return what is valid but probably a mistake."""
    settings = examination.settings
    topic = Topic(settings.source.name)
    kinds = ("connection", settings.connections), ("target", settings.targets), ("trigger", settings.triggers)
    counts = (f"{len(named)} {kind}{'' if len(named) == 1 else 's'}" for kind, named in kinds)
    hints = [topic.warn(NAME, *hint.split(": ", 1)) for hint in examination.hints]
    return hints or [topic.ok(NAME, ", ".join(counts))]


def unusable(error: errors.ConfigurationError) -> Diagnosis:
    """Return one finding for each mistake of a configuration that cannot be used. Nothing else can be checked."""
    findings = []
    for mistake in error.mistakes:
        found, remedy = split(mistake)
        findings.append(Topic("file").fail(NAME, found, remedy or "correct it, then run: pagerelay check"))
    return Diagnosis(tuple(findings))
