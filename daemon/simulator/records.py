"""PagerDuty's JSON records, with their quirks: time zones, references, absent fields.

Pure functions of an account's data; ``zone`` is the zone in which times are rendered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daemon.model import IncidentStatus

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

    from daemon.model import Json
    from daemon.simulator.directory import Policy, Priority, Service, Team, User
    from daemon.simulator.incident import Entry, Incident, Note

API = "https://api.pagerduty.com"
WEB = "https://acme.pagerduty.com"
SPELLINGS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%S.000000Z")
PATHS = {
    "user": "users",
    "service": "services",
    "escalation_policy": "escalation_policies",
    "team": "teams",
    "incident": "incidents",
    "log_entry": "log_entries",
}


def moment(at: datetime, zone: tzinfo = UTC, spelling: int = 0) -> str:
    """Return a time in a zone; UTC has several spellings."""
    local = at.astimezone(zone)
    if local.utcoffset():
        return local.isoformat(timespec="seconds")
    return local.strftime(SPELLINGS[spelling % len(SPELLINGS)])


def reference(kind: str, identity: str, summary: str, suffix: str = "_reference") -> Json:
    """Return a reference to a resource: its id, type and summary."""
    path = f"{PATHS[kind]}/{identity}"
    return {
        "id": identity,
        "type": kind + suffix,
        "summary": summary,
        "self": f"{API}/{path}",
        "html_url": f"{WEB}/{path}",
    }


def user_reference(user: User) -> Json:
    """Return a reference to a user."""
    return reference("user", user.id, user.name)


def user(user: User, team: Team, include: Collection[str] = ()) -> Json:
    """Return a user; contact methods, rules and teams are complete only if included."""
    method = {"id": f"M{user.id}", "type": "email_contact_method", "summary": "Default", "self": None, "html_url": None}
    rule = {"id": f"N{user.id}", "type": "assignment_notification_rule", "summary": "0 minutes: channel", "self": None}
    whole_method = method | {"label": "Default", "address": user.email}
    whole_rule = rule | {"start_delay_in_minutes": 0, "urgency": "high", "contact_method": _as_reference(method)}
    return reference("user", user.id, user.name, suffix="") | {
        "name": user.name,
        "email": user.email,
        "time_zone": "Etc/UTC",
        "color": "purple",
        "avatar_url": f"{WEB}/avatar/{user.id}.png",
        "billed": True,
        "role": "user",
        "description": None,
        "invitation_sent": False,
        "job_title": user.job_title,
        "teams": [_team(team, include)],
        "contact_methods": [whole_method if "contact_methods" in include else _as_reference(method)],
        "notification_rules": [whole_rule if "notification_rules" in include else _as_reference(rule)],
        "coordinated_incidents": [],
    }


def team(team: Team) -> Json:
    """Return a team."""
    more = {"name": team.name, "description": "On call for everything", "default_role": "manager"}
    return reference("team", team.id, team.name, suffix="") | more


def team_reference(team: Team) -> Json:
    """Return a reference to a team."""
    return reference("team", team.id, team.name)


def service_reference(service: Service) -> Json:
    """Return a reference to a service."""
    return reference("service", service.id, service.name)


def service(service: Service, team: Team) -> Json:
    """Return a service."""
    return reference("service", service.id, service.name, suffix="") | {
        "name": service.name,
        "description": f"What {service.name} needs",
        "status": "active",
        "created_at": "2024-01-01T00:00:00Z",
        "escalation_policy": policy_reference(service.policy),
        "teams": [team_reference(team)],
        "alert_creation": "create_alerts_and_incidents",
    }


def policy_reference(policy: Policy) -> Json:
    """Return a reference to an escalation policy."""
    return reference("escalation_policy", policy.id, policy.name)


def policy(policy: Policy, team: Team) -> Json:
    """Return an escalation policy with its levels."""
    rules = [
        {
            "id": f"{policy.id}{level}",
            "escalation_delay_in_minutes": 30,
            "targets": [user_reference(each) for each in users],
        }
        for level, users in enumerate(policy.levels)
    ]
    return reference("escalation_policy", policy.id, policy.name, suffix="") | {
        "name": policy.name,
        "escalation_rules": rules,
        "num_loops": 0,
        "on_call_handoff_notifications": "if_has_services",
        "services": [],
        "teams": [team_reference(team)],
        "description": "Who is called, and after whom",
    }


def incident_reference(incident: Incident) -> Json:
    """Return a reference to an incident."""
    return reference("incident", incident.id, _summary(incident))


def incident(incident: Incident, team: Team, include: Collection[str] = ()) -> Json:
    """Return the current state of an incident. Its conference bridge is absent unless included and set."""
    resolved = moment(incident.resolved_at) if incident.resolved_at else None
    into = incident.merged_into
    merged = {"type": "merge_resolve_reason", "incident": incident_reference(into)} if into else None
    bridge = incident.conference_bridge if "conference_bridge" in include else None
    return reference("incident", incident.id, _summary(incident), suffix="") | {
        "incident_number": incident.number,
        "title": incident.title,
        "created_at": moment(incident.created_at),
        "updated_at": moment(incident.updated_at),
        "status": incident.status.value,
        "incident_key": incident.key,
        "service": service_reference(incident.service),
        "assignments": [{"at": moment(at), "assignee": user_reference(user)} for user, at in incident.assigned],
        "assigned_via": "escalation_policy",
        "last_status_change_at": moment(incident.changed_at),
        "last_status_change_by": incident.agent,
        "resolved_at": resolved,
        "resolve_reason": merged,
        "first_trigger_log_entry": _log_entry_reference(incident),
        "alert_counts": {"all": 0, "triggered": 0, "resolved": 0},
        "is_mergeable": incident.is_open,
        "escalation_policy": policy_reference(incident.policy),
        "teams": [team_reference(team)],
        "impacted_services": [service_reference(incident.service)],
        "pending_actions": _pending(incident),
        "acknowledgements": [
            {"at": moment(at), "acknowledger": user_reference(user) if user else service_reference(incident.service)}
            for user, at in incident.acknowledged
        ],
        "alert_grouping": None,
        "urgency": incident.urgency,
        "priority": priority(incident.priority) if incident.priority else None,
        "description": incident.title,
        "incident_type": {"name": "incident_default"},
        "incidents_responders": [],
        **({"conference_bridge": bridge} if bridge else {}),
        **incident.more,
    }


def priority(priority: Priority) -> Json:
    """Return a priority, which is always embedded completely."""
    return {"id": priority.id, "type": "priority", "summary": priority.name, "name": priority.name}


def log_entry(entry: Entry, team: Team, zone: tzinfo, include: Collection[str] = ()) -> Json:
    """Return a log entry: fields that its type does not have are absent, not null.

    An included incident has its current state, not that of the entry's time.
    """
    kind = entry.type.removesuffix("_log_entry")
    record = reference("log_entry", entry.id, _told(kind, entry), suffix="") | {
        "type": entry.type,
        "created_at": moment(entry.created_at, zone, entry.seq),
        "channel": _channel(entry, whole="channels" in include),
        "service": (
            service(entry.incident.service, team)
            if "services" in include
            else service_reference(entry.incident.service)
        ),
        "incident": incident(entry.incident, team) if "incidents" in include else incident_reference(entry.incident),
        "teams": [_team(team, include)],
    }
    if entry.agent is not None:
        record["agent"] = entry.agent
    if entry.assignees is not None:
        record["assignees"] = [user_reference(each) for each in entry.assignees]
    if kind == "trigger":
        record["contexts"] = []
        record["event_details"] = {"description": entry.incident.title}
    more = dict(entry.more)
    if (notified := more.pop("notified", None)) is not None:
        record["user"] = user_reference(notified)
    return record | more | entry.odd


def note(note: Note) -> Json:
    """Return a note."""
    return {
        "id": note.id,
        "user": user_reference(note.user),
        "channel": {"summary": "The PagerDuty website or APIs"},
        "content": note.content,
        "created_at": moment(note.at),
        "updated_at": moment(note.at),
    }


def _team(each: Team, include: Collection[str]) -> Json:
    return team(each) if "teams" in include else team_reference(each)


def _summary(incident: Incident) -> str:
    return f"[#{incident.number}] {incident.title}"


def _told(kind: str, entry: Entry) -> str:
    who = entry.agent["summary"] if entry.agent else "PagerDuty"
    return f"{kind.replace('_', ' ').capitalize()} by {who}"


def _channel(entry: Entry, *, whole: bool) -> Json:
    return entry.channel if whole else {"type": entry.channel["type"]}


def _log_entry_reference(incident: Incident) -> Json:
    known = reference("log_entry", incident.first_entry, f"Triggered: {incident.title}")
    return known | {"type": "trigger_log_entry_reference"}


def _pending(incident: Incident) -> list[Json]:
    if incident.status is IncidentStatus.ACKNOWLEDGED and incident.snoozed_until:
        return [{"type": "unacknowledge", "at": moment(incident.snoozed_until)}]
    return []


def _as_reference(whole: Json) -> Json:
    return whole | {"type": f"{whole['type']}_reference"}
