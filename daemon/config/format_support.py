"""What each target is told, and whether its format can tell it: templates are tried with samples of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from daemon import formats, triggers
from daemon.formats import samples, template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from daemon.config.document import Place, Tree
    from daemon.settings import Target, Trigger


def check(
    tree: Tree,
    subscriptions: Mapping[str, Trigger],
    notify: Sequence[str],
    alerted: Sequence[str],
    targets: Mapping[str, Target],
) -> None:
    """A target's format must have a form for whatever the target is told; a template must not fail with it."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for place, name, types in _told(subscriptions, notify, alerted):
        if name in targets and targets[name].format in formats.REGISTRY:
            wanted[name] += types
            _check_form(tree, place, targets[name].format, types)
    for name, target in targets.items():
        if target.format == "template" and target.options.template is not None:
            _check_template(tree, ("targets", name, "template"), target.options.template, wanted[name])


def _told(
    subscriptions: Mapping[str, Trigger], notify: Sequence[str], alerted: Sequence[str]
) -> Iterator[tuple[Place, str, Sequence[str]]]:
    """Where a target is named, the target, and the types of the messages that it gets therefore."""
    for name, trigger in subscriptions.items():
        for number, target in enumerate(trigger.to):
            yield ("triggers", name, "to", number), target, trigger.on
    for number, target in enumerate(notify):
        yield ("actions", "notify", number), target, samples.ACTIONS
    for number, target in enumerate(alerted):
        yield ("alerts", "to", number), target, tuple(samples.ALERTS)


def _check_form(tree: Tree, place: Place, used: str, types: Iterable[str]) -> None:
    """The format must have a form for each of these; of all events, a target is told those that it has one for."""
    for name in types:
        kind = triggers.BY_NAME[name].event_type if name in triggers.BY_NAME else name
        if name != triggers.EVERY and not formats.REGISTRY[used].tells(kind):
            fitting = " or ".join(each for each, other in formats.REGISTRY.items() if other.tells(kind))
            mistake = f"names a target of format {used}, which has no payload for {kind}"
            tree.mistake(place, f"{mistake} (name one of format {fitting})")


def _check_template(tree: Tree, place: Place, text: str, wanted: Iterable[str]) -> None:
    """Try the template with what its target is told; with every event where that is nothing yet."""
    names = list(dict.fromkeys(triggers.expand(wanted))) or list(triggers.REGISTRY)
    events = [name for name in names if name.startswith("incident.")]
    renderer = template.Renderer()
    try:
        found = template.problem(renderer, text, map(samples.message, names), map(samples.bare_event, events))
    finally:
        renderer.close()
    if found is not None:
        tree.mistake(place, found)
