"""The check that each target's format supports every message type that the target receives."""

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
    alerts_to: Sequence[str],
    targets: Mapping[str, Target],
) -> None:
    """Check that each target's format supports its message types, and that templates render samples of them."""
    received: defaultdict[str, list[str]] = defaultdict(list)
    for place, name, types in _received(subscriptions, notify, alerts_to):
        if name in targets and targets[name].format in formats.REGISTRY:
            received[name] += types
            _check_types(tree, place, targets[name].format, types)
    for name, target in targets.items():
        if target.format == "template" and target.options.template is not None:
            _check_template(tree, ("targets", name, "template"), target.options.template, received[name])


def _received(
    subscriptions: Mapping[str, Trigger], notify: Sequence[str], alerts_to: Sequence[str]
) -> Iterator[tuple[Place, str, Sequence[str]]]:
    """Yield each place that names a target, the target's name, and the message types that it receives from there."""
    for name, trigger in subscriptions.items():
        for number, target in enumerate(trigger.to):
            yield ("triggers", name, "to", number), target, trigger.on
    for number, target in enumerate(notify):
        yield ("actions", "notify", number), target, samples.ACTIONS
    for number, target in enumerate(alerts_to):
        yield ("alerts", "to", number), target, tuple(samples.ALERTS)


def _check_types(tree: Tree, place: Place, format_name: str, types: Iterable[str]) -> None:
    """Check that the format supports each type. ``incident.*`` is always fine: it means the supported ones."""
    for name in types:
        kind = triggers.BY_NAME[name].event_type if name in triggers.BY_NAME else name
        if name != triggers.EVERY and not formats.REGISTRY[format_name].supports(kind):
            supporting = " or ".join(each for each, other in formats.REGISTRY.items() if other.supports(kind))
            problem = f"names a target of format {format_name}, which has no payload for {kind}"
            tree.mistake(place, f"{problem} (name one of format {supporting})")


def _check_template(tree: Tree, place: Place, text: str, received: Iterable[str]) -> None:
    """Render samples of the types that the target receives, or of every event type if it receives none."""
    names = list(dict.fromkeys(triggers.expand(received))) or list(triggers.REGISTRY)
    events = [name for name in names if name.startswith("incident.")]
    renderer = template.Renderer()
    try:
        mistake = template.problem(renderer, text, map(samples.message, names), map(samples.bare_event, events))
    finally:
        renderer.close()
    if mistake is not None:
        tree.mistake(place, mistake)
