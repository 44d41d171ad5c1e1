"""
What the generated rules mean, asked of both kinds of broker over every client, action and topic.

EMQX's file is read by the grammar its makers document ("Use ACL File", docs.emqx.com): Erlang terms, each ended by a
period; `{Permission, Who}`, with an action and topics after it or without; the first rule that fits decides. That of
Mosquitto is read by its manual page mosquitto.conf(5): what no `topic` line of a user allows is refused.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from backend.fleet.broker_acl import SERVER_ACCOUNT, Account, acl
from gateway.contract import topics

ACCOUNTS = [Account("gxu", "gw_west"), Account("gxu", "gw_east"), Account("gzu", "gw_west")]
CLIENTS = [SERVER_ACCOUNT, *(account.name for account in ACCOUNTS), "gxu/gw_gone", "", "#", "+/+"]
OWN = [topics.up(a.tenant_id, a.gateway_id, kind) for a in ACCOUNTS for kind in topics.Up]
OWN += [topics.down(a.tenant_id, a.gateway_id, kind) for a in ACCOUNTS for kind in topics.Down]
FILTERS = ["#", "+/#", "ct/#", "ct/v1/#", "ct/v1/+/+/up/#", "ct/v1/+/+/down/#", "$SYS/#"]
FILTERS += [f"ct/v1/{place}/{way}/#" for place in ("gxu/gw_west", "gzu/gw_west", "gxu/+") for way in ("up", "down")]
STRANGE = ["ct/v1/gxu/gw_west/up", "ct/v1/gxu/gw_west", "ct/v2/gxu/gw_west/up/event", "$SYS/broker/load", "ct"]

TOKEN = re.compile(r'\s*(?:%[^\n]*\n\s*)*(?:"((?:[^"\\]|\\.)*)"|([a-z][A-Za-z0-9_@]*)|([{}\[\],.]))')


def terms_of(text: str) -> list[Any]:
    """Return the Erlang terms of a file: tuples as tuples, lists as lists, strings as str, atoms as Atom."""
    tokens, at = [], 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        assert found is not None, f"no Erlang term at {text[at : at + 40]!r}"
        string, atom, mark = found.groups()
        tokens.append(("string", string) if string is not None else ("atom", atom) if atom else ("mark", mark))
        at = found.end()
    waiting = iter(tokens)
    terms = []
    for token in waiting:
        terms.append(_term(token, waiting))
        assert next(waiting) == ("mark", "."), "a rule ends with a period"
    return terms


class Atom(str):
    """A word that is no text."""

    __slots__ = ()


def _term(token: tuple[str, str], waiting: Iterator[tuple[str, str]]) -> Any:
    kind, value = token
    if kind != "mark":
        return Atom(value) if kind == "atom" else value
    assert value in "{[", f"a term begins with {value}"
    close = {"{": "}", "[": "]"}[value]
    items = []
    for token in waiting:
        if token == ("mark", close):
            assert not items, "nothing after a comma"
            break
        items.append(_term(token, waiting))
        after = next(waiting)
        if after == ("mark", close):
            break
        assert after == ("mark", ","), f"{after} between two terms"
    return tuple(items) if close == "}" else items


def checked(rules: list[Any]) -> list[Any]:
    """Return the rules if each is one that EMQX documents."""
    for rule in rules:
        assert isinstance(rule, tuple)
        assert 2 <= len(rule) <= 4
        assert isinstance(rule[0], Atom)
        assert rule[0] in ("allow", "deny")
        who = rule[1]
        is_user = isinstance(who, tuple) and who[0] in ("username", "user") and type(who[1]) is str and bool(who[1])
        assert who == Atom("all") or is_user
        if len(rule) > 2:
            assert isinstance(rule[2], Atom)
            assert rule[2] in ("publish", "subscribe", "all")
        for topic in rule[3] if len(rule) > 3 else ():
            assert type(topic) is str
            assert "${" not in topic, "a placeholder would widen the rule"
            levels = topic.split("/")
            assert "#" not in levels[:-1]
            assert not any(len(level) > 1 and set("+#") & set(level) for level in levels)
    return rules


def covers(rule: str, asked: str) -> bool:
    """Return whether a filter of a rule covers a topic, or all of a filter that somebody wants to subscribe to."""
    given, wanted = rule.split("/"), asked.split("/")
    if asked.startswith("$") and given[0] in ("+", "#"):
        return False
    for at, level in enumerate(given):
        if level == "#":
            return True
        if at >= len(wanted) or wanted[at] == "#" or (level != "+" and level != wanted[at]):
            return False
    return len(given) == len(wanted)


def emqx_allows(text: str, client: str, action: str, topic: str) -> bool:
    for permission, who, *more in checked(terms_of(text)):
        if who != "all" and who[1] != client:
            continue
        if more and more[0] not in (action, "all"):
            continue
        if len(more) > 1 and not any(covers(rule, topic) for rule in more[1]):
            continue
        return bool(permission == "allow")
    raise AssertionError("the last rule fits everybody")


def mosquitto_allows(text: str, client: str, action: str, topic: str) -> bool:
    user, verb = None, {"publish": "write", "subscribe": "read"}[action]
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif (
            word == "topic" and user == client and rest.startswith(f"{verb} ") and covers(rest.split(" ", 1)[1], topic)
        ):
            return True
    return False


def means(client: str, action: str, topic: str) -> bool:
    """Return what the contract says: each gateway its own two branches, our processes the other end of all."""
    parts = topic.split("/")
    is_ours = len(parts) >= 5 and parts[:2] == ["ct", "v1"] and "#" not in parts[:5]
    if not is_ours:
        return False
    name, way = "/".join(parts[2:4]), parts[4]
    if client == SERVER_ACCOUNT:
        return way == {"subscribe": "up", "publish": "down"}[action]
    known = client in {account.name for account in ACCOUNTS}
    return known and name == client and way == {"publish": "up", "subscribe": "down"}[action]


CASES = [
    *itertools.product(CLIENTS, ["publish"], [*OWN, *STRANGE]),
    *itertools.product(CLIENTS, ["subscribe"], [*OWN, *STRANGE, *FILTERS]),
]


class TestMeaning:
    @pytest.mark.parametrize(("kind", "allows"), [("emqx", emqx_allows), ("mosquitto", mosquitto_allows)])
    def test_is_the_contract_s_for_every_client_action_and_topic(self, kind: str, allows: Any) -> None:
        text = acl(kind, ACCOUNTS)

        wrong = [case for case in CASES if allows(text, *case) != means(*case)]

        assert wrong == []
        assert sum(means(*case) for case in CASES) > 40
        assert len(CASES) > 500

    def test_a_seeded_mistake_is_found(self) -> None:
        text = acl("emqx", ACCOUNTS)
        for wrong in (
            text.replace("{deny, all}", "{allow, all}"),
            text.replace("gxu/gw_west/up", "gxu/+/up"),
            text.replace("publish", "all"),
            text.replace('"gzu/gw_west"}, publish', '"gxu/gw_west"}, publish'),
        ):
            assert wrong != text
            assert [case for case in CASES if emqx_allows(wrong, *case) != means(*case)]

    @pytest.mark.parametrize(
        "text",
        [
            '{allow, {username, "a"}, publish, ["a/#"]}',
            "{allow all}.",
            '{allow, {username, "a"}, write, ["a"]}.',
            "[,].",
        ],
    )
    def test_what_emqx_would_not_read_is_not_read_here(self, text: str) -> None:
        with pytest.raises((AssertionError, StopIteration)):
            checked(terms_of(text))
