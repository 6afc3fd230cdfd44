"""How a subscription is pushed: every rule of its definition, and secrets that are written and not read."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import pytest

from tests.webhooks.addresses import REFUSED
from waooaw.events.errors import InvalidParameterError, InvalidRequestError
from waooaw.events.identifier import new_signing_secret
from waooaw.events.push import (
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    MASK,
    RESERVED_HEADERS,
    URL_LENGTH_MAX,
    PushDefinition,
    secret_bytes,
    with_kept_secrets,
)
from waooaw.events.subscription import parse_subscription

URL: Final = "https://agent.example/events"


def secret_of(count: int) -> str:
    """A signing secret of so many bytes."""
    return f"whsec_{b64encode(bytes(range(count))).decode()}"


OLD, NEW = secret_of(24), secret_of(32)

WHOLE: Final = PushDefinition(
    url="https://agent.example:8443/events?a=1",
    mode="batch",
    headers={"X-Team": "blue", "X-Key": "k1"},
    authorization="Bearer abc",
    secret=(NEW, OLD),
    handshake="none",
    timeout_seconds=1.5,
    concurrency=3,
    rate=0.5,
)


def read(**members: object) -> PushDefinition:
    """Read a push out of a definition."""
    push = parse_subscription({"patterns": ["*"], "push": {"url": URL, **members}}).push
    assert push is not None
    return push


def wrong(members: object) -> dict[str, str]:
    """Read a push that is wrong; return what is told of each place."""
    with pytest.raises(InvalidRequestError) as refused:
        parse_subscription({"patterns": ["*"], "push": members})
    return {violation.pointer: violation.detail for violation in refused.value.errors}


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_url_is_enough() -> None:
    """All else has its default."""
    assert read() == PushDefinition(url=URL)
    assert read().to_members() == {
        "url": URL,
        "mode": "binary",
        "headers": {},
        "authorization": None,
        "secret": None,
        "handshake": "options",
        "timeout_seconds": 30.0,
        "concurrency": 10,
        "rate": None,
    }


def test_what_is_written_is_read_back() -> None:
    """Members spell a definition whole, secrets included: that is how it is stored."""
    assert read(**WHOLE.to_members()) == WHOLE


def test_one_secret_may_stand_alone() -> None:
    """A text is a list of one; null is none."""
    assert read(secret=NEW).secret == (NEW,)
    assert read(secret=[NEW, OLD]).secret == (NEW, OLD)
    assert read(secret=None).secret == ()


def test_no_push_is_none() -> None:
    """Null, and a definition without the member, is a subscription that members come to."""
    assert parse_subscription({"patterns": ["*"], "push": None}).push is None
    assert parse_subscription({"patterns": ["*"]}).push is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "structured"),
        ("timeout_seconds", 0.1),
        ("timeout_seconds", 120),
        ("concurrency", 1),
        ("concurrency", 1000),
        ("rate", 0.01),
        ("rate", 100_000),
        ("rate", None),
        ("authorization", "x" * HEADER_BYTES_MAX),
        ("headers", {f"x-{number}": "" for number in range(HEADERS_MAX)}),
        ("headers", {"X-Words": "a b\tc", "x!#$%&'*+.^_`|~-1": "~"}),
        ("secret", [secret_of(24), secret_of(64)]),
        ("url", f"https://agent.example/{'a' * (URL_LENGTH_MAX - 22)}"),
    ],
)
def test_the_ends_of_each_range_are_inside(name: str, value: object) -> None:
    """The first and the last value that a rule names are allowed."""
    kept = getattr(read(**{name: value}), name)
    assert kept == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("url", 1, "absolute URL"),
        ("url", None, "absolute URL"),
        ("url", "", "absolute URL"),
        ("url", "/events", "absolute URL"),
        ("url", "agent.example", "absolute URL"),
        ("url", "https://agent.example/ a", "printable ASCII"),
        ("url", "https://agent.example/\r\nX: 1", "printable ASCII"),
        ("url", "https://ägent.example/", "printable ASCII"),
        ("url", "https://[::1", "absolute URL"),
        ("url", f"https://agent.example/{'a' * URL_LENGTH_MAX}", "2048"),
        ("mode", "xml", "binary, structured, batch"),
        ("mode", None, "binary, structured, batch"),
        ("handshake", "maybe", "options, none"),
        ("timeout_seconds", 0.09, "from 0.1 to 120"),
        ("timeout_seconds", 121, "from 0.1 to 120"),
        ("timeout_seconds", float("nan"), "from 0.1 to 120"),
        ("timeout_seconds", None, "from 0.1 to 120"),
        ("timeout_seconds", True, "from 0.1 to 120"),
        ("concurrency", 0, "from 1 to 1,000"),
        ("concurrency", 1001, "from 1 to 1,000"),
        ("concurrency", 1.5, "whole number"),
        ("concurrency", True, "whole number"),
        ("rate", 0, "or null"),
        ("rate", 100_001, "or null"),
        ("rate", "1", "or null"),
        ("authorization", "", "Authorization"),
        ("authorization", 1, "Authorization"),
        ("authorization", "Bearer a\r\nX: 1", "Authorization"),
        ("authorization", " Bearer", "Authorization"),
        ("authorization", "Bearer ", "Authorization"),
        ("authorization", "Bearer ä", "Authorization"),
        ("authorization", "x" * (HEADER_BYTES_MAX + 1), "Authorization"),
        ("headers", [], "object"),
        ("headers", "X: 1", "object"),
        ("headers", {f"x-{number}": "" for number in range(HEADERS_MAX + 1)}, "at most 32"),
        ("headers", {"": "1"}, "no name"),
        ("headers", {"a b": "1"}, "no name"),
        ("headers", {"a:": "1"}, "no name"),
        ("headers", {"a\r\nb": "1"}, "no name"),
        ("headers", {"ä": "1"}, "no name"),
        ("headers", {"a" * 129: "1"}, "no name"),
        ("headers", {"X": "a\nb"}, "printable ASCII"),
        ("headers", {"X": "a\x00"}, "printable ASCII"),
        ("headers", {"X": 1}, "printable ASCII"),
        ("headers", {"X": "a" * (HEADER_BYTES_MAX + 1)}, "4,096"),
        ("headers", {"X-A": "1", "x-a": "2"}, "twice"),
        ("secret", "", "whsec_"),
        ("secret", "secret", "whsec_"),
        ("secret", "whsec_", "whsec_"),
        ("secret", secret_of(23), "24 to 64 bytes"),
        ("secret", secret_of(65), "24 to 64 bytes"),
        ("secret", "whsec_*" + "A" * 40, "base64"),
        ("secret", [], "one secret"),
        ("secret", [NEW, OLD, NEW], "one secret"),
        ("secret", [NEW, 1], "whsec_"),
        ("secret", {"a": 1}, "one secret"),
        ("colour", "red", "there are url"),
    ],
)
def test_what_breaks_a_rule_is_told_with_its_place(name: str, value: object, told: str) -> None:
    """Each value outside of its rule is refused, its member named, and nothing guessed."""
    found = wrong({"url": URL, name: value})
    assert list(found) == [f"#/push/{name}"]
    assert told in found[f"#/push/{name}"]


@pytest.mark.parametrize("name", [*sorted(RESERVED_HEADERS), "ce-id", "CE-Type", "Webhook-Id", "webhook-signature"])
def test_headers_of_the_request_itself(name: str) -> None:
    """What a request is made of cannot be set from outside, however it is spelled."""
    for spelled in (name, name.upper(), name.title()):
        assert "the request itself sets" in wrong({"url": URL, "headers": {spelled: "1"}})["#/push/headers"]


@pytest.mark.parametrize(
    ("members", "places"),
    [
        ({}, {"#/push/url"}),
        ([], {"#/push"}),
        ("https://agent.example/", {"#/push"}),
        ({"mode": 1, "rate": 0}, {"#/push/mode", "#/push/rate", "#/push/url"}),
        ({"url": 1, "a/b": 1}, {"#/push/url", "#/push/a~1b"}),
    ],
)
def test_all_that_is_wrong_is_told(members: object, places: set[str]) -> None:
    """Each place once, the URL that is missing too."""
    assert set(wrong(members)) == places


@pytest.mark.parametrize("url", list(REFUSED))
def test_whether_a_url_is_called_is_judged_elsewhere(url: str) -> None:
    """A URL that is hostile and well written is read: who calls has the networks, and says why not."""
    assert PushDefinition(url=url) == parse_subscription({"patterns": ["*"], "push": {"url": url}}).push


# Secrets --------------------------------------------------------------------------------------------------------------


def test_secrets_are_masked() -> None:
    """What people see has the names of headers and how many secrets there are, and none of the values."""
    assert WHOLE.masked() == PushDefinition(
        url=WHOLE.url,
        mode="batch",
        headers={"X-Team": MASK, "X-Key": MASK},
        authorization=MASK,
        secret=(MASK, MASK),
        handshake="none",
        timeout_seconds=1.5,
        concurrency=3,
        rate=0.5,
    )
    assert PushDefinition(url=URL).masked() == PushDefinition(url=URL)


def test_secrets_are_in_no_repr() -> None:
    """A definition in a log line or a traceback shows none."""
    shown = repr(WHOLE)
    assert WHOLE.url in shown
    for secret in (NEW, OLD, "Bearer abc", "blue", "k1"):
        assert secret not in shown


@pytest.mark.parametrize(
    "members",
    [
        {"secret": "hunter2-hunter2"},
        {"secret": [NEW, "hunter2-hunter2"]},
        {"authorization": "hunter2-hunter2\n"},
        {"headers": {"X-Key": "hunter2-hunter2\n"}},
        {"secret": {"hunter2-hunter2": 1}},
    ],
)
def test_secrets_that_are_wrong_are_not_told(members: dict[str, Any]) -> None:
    """An error says which rule was broken, and never the value that broke it."""
    with pytest.raises(InvalidRequestError) as refused:
        read(**members)
    assert "hunter2" not in f"{refused.value} {refused.value.errors}"


def test_a_key_is_what_the_secret_stands_for() -> None:
    """The prefix is taken off, and the rest is base64; a fresh one is 32 bytes of chance."""
    assert secret_bytes(NEW) == bytes(range(32))
    fresh = {new_signing_secret() for _ in range(10)}
    assert len(fresh) == 10
    assert {len(secret_bytes(secret)) for secret in fresh} == {32}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "^$"),
        (NEW.removeprefix("whsec_"), "^AAECAw$"),
        ("whsec_?", "^not base64$"),
        (f"{NEW} ", "^not base64$"),
        (secret_of(10), "^10$"),
        (secret_of(100), "^100$"),
    ],
)
def test_no_key(text: str, said: str) -> None:
    """Anything else is no secret, and the error does not have it: its first letters at most."""
    with pytest.raises(ValueError, match=said):
        secret_bytes(text)


def test_masks_keep_what_was_set() -> None:
    """What was read can be changed and put back: each place has what it had, and the rest is new."""
    changed = read(**WHOLE.masked().to_members() | {"concurrency": 9, "url": "https://agent.example:8443/other"})
    kept = with_kept_secrets(changed, WHOLE)
    assert kept == PushDefinition(
        **{**WHOLE.to_members(), "secret": WHOLE.secret, "concurrency": 9, "url": "https://agent.example:8443/other"}
    )


def test_each_place_is_kept_alone() -> None:
    """A new secret beside the old one, one header of two, no authorization: only what is masked is kept."""
    before = PushDefinition(url=URL, headers={"X-A": "1", "X-B": "2"}, authorization="Basic x", secret=(OLD,))
    changed = read(headers={"x-a": MASK, "X-C": "3"}, secret=[MASK, NEW])
    assert with_kept_secrets(changed, before) == read(headers={"x-a": "1", "X-C": "3"}, secret=[OLD, NEW])
    assert with_kept_secrets(read(), before) == read()


def test_a_new_secret_may_stand_before_the_old_one() -> None:
    """Each mask keeps the next secret that there was, wherever it stands."""
    before = PushDefinition(url=URL, secret=(OLD,))
    assert with_kept_secrets(read(secret=[NEW, MASK]), before).secret == (NEW, OLD)
    assert with_kept_secrets(read(secret=[MASK, MASK]), PushDefinition(url=URL, secret=(NEW, OLD))).secret == (NEW, OLD)


def test_nothing_masked_needs_nothing() -> None:
    """A definition that says all is taken as it is, whatever was there."""
    assert with_kept_secrets(WHOLE, None) == WHOLE
    assert with_kept_secrets(WHOLE, PushDefinition(url="https://other.example/", secret=(OLD,))) == WHOLE


@pytest.mark.parametrize("before", [None, PushDefinition(url=WHOLE.url)])
def test_there_is_nothing_to_keep(before: PushDefinition | None) -> None:
    """Of a new subscription, and where nothing was set: each such place is told."""
    with pytest.raises(InvalidParameterError) as refused:
        with_kept_secrets(WHOLE.masked(), before)
    assert [(found.pointer, found.code) for found in refused.value.errors] == [
        ("#/push/headers/X-Team", "invalid_parameter"),
        ("#/push/headers/X-Key", "invalid_parameter"),
        ("#/push/authorization", "invalid_parameter"),
        ("#/push/secret/0", "invalid_parameter"),
        ("#/push/secret/1", "invalid_parameter"),
    ]
    assert "there is none to keep" in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://attacker.example:8443/events",
        "https://agent.example/events",
        "https://agent.example:443/events",
        "http://agent.example:8443/events",
        "https://agent.example.attacker.example:8443/events",
    ],
)
def test_another_origin_is_not_told_secrets(url: str) -> None:
    """Who may change the URL cannot have the secrets sent to himself: they stay with scheme, host and port."""
    changed = read(**WHOLE.masked().to_members() | {"url": url})
    with pytest.raises(InvalidParameterError) as refused:
        with_kept_secrets(changed, WHOLE)
    assert len(refused.value.errors) == 5
    assert "another origin" in refused.value.detail
    for secret in (NEW, OLD, "Bearer abc", "blue", "k1"):
        assert secret not in f"{refused.value} {refused.value.errors}"


@pytest.mark.parametrize("url", ["https://AGENT.example:8443/", "HTTPS://agent.example:8443/x?y"])
def test_the_same_origin_is_the_same(url: str) -> None:
    """Case does not make another host, and the path does not count."""
    assert with_kept_secrets(read(**WHOLE.masked().to_members() | {"url": url}), WHOLE).secret == WHOLE.secret
