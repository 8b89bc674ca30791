"""People, services and links, read by PagerDuty's own client library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pagerduty
import pytest

from tests.simulator.library import KEY, Sdk, ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from daemon.simulator import Account


def links(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every link to the API in a response, with the id of its object."""
    if isinstance(value, list):
        for item in value:
            yield from links(item)
    if isinstance(value, dict):
        if value.get("self"):
            yield value["self"], value["id"]
        for item in value.values():
            yield from links(item)


def test_users_are_listed_and_can_be_searched(account: Account, sdk: Sdk) -> None:
    bob = account.directory.users[1]
    assert ids(sdk.iter_all("users")) == [each.id for each in account.directory.users]
    objects = sdk.find("users", "Bob@Example.com", attribute="email")
    assert objects is not None
    assert (objects["id"], objects["name"]) == (bob.id, "Bob Brandt")
    assert sdk.find("users", "bob", attribute="email") is None
    assert ids(sdk.iter_all("users", params={"query": "brandt"})) == [bob.id]


def test_contact_details_of_a_user_are_returned_only_on_request(account: Account, sdk: Sdk) -> None:
    path = f"/users/{account.directory.users[0].id}"
    bare: Any = sdk.rget(path)
    assert bare["contact_methods"][0]["type"] == "email_contact_method_reference"
    assert "address" not in bare["contact_methods"][0]
    include = ["contact_methods", "notification_rules", "teams"]
    whole: Any = sdk.rget(path, params={"include": include})
    assert whole["contact_methods"][0]["address"] == "alice@example.com"
    assert whole["notification_rules"][0]["start_delay_in_minutes"] == 0
    assert whole["teams"][0]["name"] == "Operations"


def test_a_key_belongs_to_an_account_or_a_user(account: Account, url: str, sdk: Sdk, http: httpx.Client) -> None:
    assert sdk.api_key_access == "account"
    assert http.get("/users/me").status_code == 400
    account.user_key = account.directory.users[2]
    with Sdk(KEY, base_url=url, trust_env=False, verify=False) as users:
        assert users.api_key_access == "user"
        me: Any = users.rget("/users/me")
    assert me["email"] == "carol@example.com"


def test_services_policies_and_teams_are_listed_and_can_be_searched(account: Account, sdk: Sdk) -> None:
    for name, set_up in (
        ("services", account.directory.services),
        ("escalation_policies", account.directory.policies),
        ("teams", [account.directory.team]),
    ):
        assert ids(sdk.iter_all(name)) == [each.id for each in set_up]
        objects = sdk.find(name, set_up[0].name)
        assert objects is not None
        assert objects["id"] == set_up[0].id
        assert ids(sdk.iter_all(name, params={"query": set_up[0].name.upper()})) == [set_up[0].id]
        assert ids(sdk.iter_all(name, params={"query": "nowhere"})) == []
    policy: Any = sdk.rget(f"/escalation_policies/{account.directory.policies[0].id}")
    levels = [[target["id"] for target in rule["targets"]] for rule in policy["escalation_rules"]]
    assert levels == [[user.id for user in level] for level in account.directory.policies[0].levels]


def test_abilities_are_listed_and_can_be_tested_one_by_one(sdk: Sdk) -> None:
    assert "teams" in sdk.rget("/abilities")
    assert sdk.account_has_ability("teams")
    with pytest.raises(pagerduty.HttpError, match="404"):
        sdk.account_has_ability("flying")


def test_every_link_leads_to_its_object(account: Account, sdk: Sdk) -> None:
    incident = account.trigger("Disk full")
    account.acknowledge(incident.id, account.directory.users[0])
    names = ("incidents", "log_entries", "users", "services", "escalation_policies", "teams")
    answers = [sdk.list_all(name) for name in names]
    objects = set(links(answers))
    assert {link.split("/")[3] for link, _ in objects} == set(names)
    for link, identity in objects:
        thing: Any = sdk.rget(link)
        assert thing["id"] == identity
    assert sdk.subdomain == "acme"
