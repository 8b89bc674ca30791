"""Where PagerDuty does not do as the description of its REST API says, each with the reason to allow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NULLABLE = ("alert_grouping", "incident_key", "priority", "resolve_reason", "resolved_at")


@dataclass(frozen=True)
class Divergence:
    """One of them: why it is allowed, and the change to the description that allows it.

    ``recorded``: PagerDuty's records or the description's own examples show it.
    """

    why: str
    allow: Callable[[Any], object]
    recorded: bool


def _schemas(document: Any) -> Any:
    return document["components"]["schemas"]


def _properties(document: Any, schema: str) -> Any:
    """Return the properties that a schema adds to those it is composed of."""
    return _schemas(document)[schema]["allOf"][1]["properties"]


def _answer(document: Any, path: str) -> Any:
    """Return the schema of the response to reading a path."""
    return document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


def _channels(document: Any) -> None:
    channel = _schemas(document)["Channel"]
    channel["anyOf"] = channel.pop("oneOf")


def _acknowledge(document: Any) -> None:
    _properties(document, "AcknowledgeLogEntry")["type"]["enum"].append("acknowledge_log_entry")


def _nullable(name: str) -> Callable[[Any], None]:
    def allow(document: Any) -> None:
        properties = _properties(document, "Incident")
        properties[name] = {"anyOf": [properties[name], {"enum": [None]}]}

    return allow


def _included(document: Any) -> None:
    def either(described: Any, whole: Any) -> Any:
        return {"anyOf": [described, whole]}

    def reference(name: str) -> Any:
        return {"$ref": f"#/components/schemas/{name}"}

    entry = _properties(document, "LogEntry")
    entry["incident"] = either(entry["incident"], reference("Incident"))
    entry["service"] = either(entry["service"], reference("Service"))
    entry["teams"]["items"] = either(entry["teams"]["items"], reference("Team"))
    user = _properties(document, "User")
    user["teams"]["items"] = either(user["teams"]["items"], reference("Team"))
    user["contact_methods"]["items"] = either(user["contact_methods"]["items"], reference("ContactMethod"))
    user["notification_rules"]["items"] = either(user["notification_rules"]["items"], reference("NotificationRule"))


def _other_types(document: Any) -> None:
    """Validate an entry of an undocumented type against what all entries have in common."""
    _properties(document, "LogEntry")["type"].pop("enum")
    one = _answer(document, "/log_entries/{id}")["properties"]["log_entry"]["oneOf"]
    lists = [_answer(document, path) for path in ("/log_entries", "/incidents/{id}/log_entries")]
    for listed in (one, *(each["allOf"][1]["properties"]["log_entries"]["items"]["oneOf"] for each in lists)):
        names = [each["$ref"].rpartition("/")[2] for each in listed]
        known = [kind for name in names for kind in _properties(document, name)["type"]["enum"]]
        other = {"properties": {"type": {"not": {"enum": known}, "pattern": "_log_entry$"}}}
        listed.append({"allOf": [{"$ref": "#/components/schemas/LogEntry"}, other]})


def _texts(document: Any) -> None:
    field = _schemas(document)["Channel"]["properties"]["changeset"]["properties"]["customer_fields"]["items"]
    field["properties"]["value"]["oneOf"].append({"type": "string"})


def _keys_kind(document: Any) -> None:
    responses = document["paths"]["/users/me"]["get"]["responses"]
    text = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    responses["400"] = {"description": "No user's key", "content": {"application/json": {"schema": text}}}


DIVERGENCES = {
    "channels": Divergence(
        "a channel shall match one of five kinds, but every channel matches several", _channels, recorded=True
    ),
    "acknowledge": Divergence("the type is spelt acknowledge_, not acknowledgement_", _acknowledge, recorded=True),
    **{name: Divergence(f"an incident's {name} may be null", _nullable(name), recorded=True) for name in NULLABLE},
    "included": Divergence(
        "what include[] names comes whole, and only references are described", _included, recorded=False
    ),
    "texts": Divergence("a custom field may have a text, as in the examples of V3 webhooks", _texts, recorded=False),
    "other types": Divergence("there are more types of log entries than are listed", _other_types, recorded=False),
    "kind of key": Divergence("PagerDuty's own client library expects a text as the error", _keys_kind, recorded=False),
}
