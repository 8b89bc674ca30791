"""The directory of a simulated account: users, services, escalation policies, a team."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

PEOPLE = (
    ("Alice Archer", "Site Reliability Engineer"),
    ("Bob Brandt", "Database Administrator"),
    ("Carol Chen", "Platform Engineer"),
    ("Dan Duarte", "Network Engineer"),
    ("Erin Eklund", "Engineering Manager"),
)
SERVICES = ("Checkout", "Search", "Billing", "Login")
PRIORITIES = ("P1", "P2", "P3")
SHORT_ID = 6
ALPHABET = string.ascii_uppercase + string.digits


@dataclass(eq=False, slots=True)
class User:
    """A user who is on call. E-mail addresses change, ids do not."""

    id: str
    name: str
    email: str
    job_title: str


@dataclass(frozen=True, slots=True)
class Team:
    """The team that owns the services."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Policy:
    """An escalation policy: the users of each level."""

    id: str
    name: str
    levels: tuple[tuple[User, ...], ...]

    def first_level(self) -> int:
        """Return the first level with a user; 0 if there is none."""
        return next((level for level, users in enumerate(self.levels) if users), 0)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that has incidents. ``key`` is its integration key."""

    id: str
    name: str
    policy: Policy
    key: str


@dataclass(frozen=True, slots=True)
class Priority:
    """A priority of an incident."""

    id: str
    name: str


class Directory:
    """An account's users and services; the same ``chance`` creates the same ones."""

    def __init__(self, chance: random.Random) -> None:
        self.users = tuple(
            User(short_id(chance), name, f"{name.split()[0].lower()}@example.com", title) for name, title in PEOPLE
        )
        self.team = Team(short_id(chance), "Operations")
        alice, bob, carol, dan, erin = self.users
        self.policies: tuple[Policy, ...] = (
            Policy(short_id(chance), "Follow the sun", ((alice,), (bob, carol), (erin,))),
            Policy(short_id(chance), "Infrastructure", ((dan, bob), (carol,), (erin,))),
        )
        self.services = tuple(
            Service(short_id(chance), name, self.policies[number % 2], f"{chance.getrandbits(128):032x}")
            for number, name in enumerate(SERVICES)
        )
        self.priorities = tuple(Priority(short_id(chance), name) for name in PRIORITIES)

    def of(self, what: str) -> tuple[Priority | Service | User, ...]:
        """Return the priorities, the services, or the users for ``responder``."""
        known: dict[str, tuple[Priority | Service | User, ...]] = {
            "priority": self.priorities,
            "service": self.services,
            "responder": self.users,
        }
        return known[what]

    def requester(self, address: str | None) -> User | None:
        """Return the user with this e-mail address."""
        return next((user for user in self.users if address and user.email == address.lower()), None)

    def user(self, key: str) -> User:
        """Return a user by id, e-mail address or first name. Raises KeyError."""
        for user in self.users:
            if key in {user.id, user.email} or key.lower() == user.name.split()[0].lower():
                return user
        raise KeyError(key)


def short_id(chance: random.Random) -> str:
    """Return an id as PagerDuty assigns to configured objects."""
    return "P" + "".join(chance.choices(ALPHABET, k=SHORT_ID))
