"""URLs of Redis: what they mean, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waooaw.events.engine.redis.address import Credentials, Mode, Node, RedisAddress, parse_address
from waooaw.events.errors import InvalidSettingError

NOBODY = Credentials()


@pytest.mark.parametrize(
    ("url", "mode", "nodes", "behind", "tls"),
    [
        ("redis://host", "standalone", "host:6379", (None, 0), False),
        (" redis://host:1/ ", "standalone", "host:1", (None, 0), False),
        ("REDIS://host:65535/15", "standalone", "host:65535", (None, 15), False),
        ("rediss://my_redis.default.svc.:6380/3", "standalone", "my_redis.default.svc.:6380", (None, 3), True),
        ("redis://10.0.0.7", "standalone", "10.0.0.7:6379", (None, 0), False),
        ("redis://[::1]/2", "standalone", "[::1]:6379", (None, 2), False),
        ("redis://[fe80::1%eth0]:7", "standalone", "[fe80::1%eth0]:7", (None, 0), False),
        ("redis+sentinel://a:1,b,[::1]:2/mymaster", "sentinel", "a:1,b:26379,[::1]:2", ("mymaster", 0), False),
        ("rediss+sentinel://a/my-Master.1_/4", "sentinel", "a:26379", ("my-Master.1_", 4), True),
        ("redis+cluster://a:1,b", "cluster", "a:1,b:6379", (None, 0), False),
        ("rediss+cluster://a/0", "cluster", "a:6379", (None, 0), True),
    ],
)
def test_accepted(url: str, mode: Mode, nodes: str, behind: tuple[str | None, int], tls: bool) -> None:  # noqa: FBT001 - a column
    """Each form of URL says how the nodes stand together, which they are, and what is wanted of them."""
    address = parse_address(url, NOBODY)
    assert (address.mode, (address.service, address.database), address.tls) == (mode, behind, tls)
    assert ",".join(map(str, address.nodes)) == nodes
    assert address.credentials == NOBODY


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        ("", "does not begin with a scheme"),
        ("host:6379", "does not begin with a scheme"),
        ("http://host", "does not begin with a scheme"),
        ("unix:///run/redis.sock", "Unix sockets are not supported"),
        ("redis+unix:///run/redis.sock", "Unix sockets are not supported"),
        ("redis://", "host 1 is empty"),
        ("redis://:7", "host 1 is empty"),
        ("redis:///0", "host 1 is empty"),
        ("redis+cluster://a,,b", "host 2 is empty"),
        ("redis://[]", "host 1 is empty"),
        ("redis://a b", "no host name"),
        ("redis://-a", "no host name"),
        ("redis://hóst", "no host name"),
        ("redis://[host]", "no host name"),
        ("redis://[::1", "no host name"),
        ("redis://[::1]x", "no host name"),
        ("redis://::1", "stands in brackets"),
        ("redis://host:", "must be a number from 1 to 65,535"),
        ("redis://host:0", "must be a number from 1 to 65,535"),
        ("redis://host:65536", "must be a number from 1 to 65,535"),
        ("redis://host:+1", "must be a number from 1 to 65,535"),
        ("redis://host:٣", "must be a number from 1 to 65,535"),
        ("redis://a,b", "several nodes"),
        ("redis+cluster://a,a:6379", "the same node twice"),
        ("redis+cluster://" + ",".join(f"h{number}" for number in range(65)), "65 nodes"),
        ("redis://host/x", "the database must be a number"),
        ("redis://host/-1", "the database must be a number"),
        ("redis://host/0/1", "too much stands behind"),
        ("redis+cluster://host/1", "database 0 only"),
        ("redis+sentinel://host", "name of the service that Sentinel watches is missing"),
        ("redis+sentinel://host/", "name of the service that Sentinel watches is missing"),
        ("redis+sentinel://host/a b", "letters, digits"),
        ("redis+sentinel://host/name/0/1", "too much stands behind"),
        ("redis://host?db=1", "options behind '?'"),
        ("redis://host/0?ssl_cert_reqs=none", "options behind '?'"),
        ("redis://host#1", "options behind '?' or '#'"),
        ("redis://user@host", "named without a password"),
        ("redis://user:@host", "named without a password"),
        ("redis://:a/b@host", "written %2F"),
        ("redis://:a%zz@host", "begins no escape"),
        ("redis://:%ff@host", "not UTF-8"),
    ],
)
def test_refused(url: str, trouble: str) -> None:
    """What cannot be meant is refused, and the sentence says what is wrong."""
    with pytest.raises(InvalidSettingError) as caught:
        parse_address(url, NOBODY)
    assert trouble in str(caught.value)


@pytest.mark.parametrize(
    ("url", "held", "username", "password"),
    [
        ("redis://host", NOBODY, None, None),
        ("redis://@host", NOBODY, None, None),
        ("redis://:p%40%3A%2F%25ü@host", NOBODY, None, "p@:/%ü"),
        ("redis://us%65r:a:b@host", NOBODY, "user", "a:b"),
        ("redis://user:p@ss@host", NOBODY, "user", "p@ss"),
        ("redis://user:url@host", Credentials(password="held"), "user", "held"),
        ("redis://user@host", Credentials(password="held"), "user", "held"),
        ("redis://user:url@host", Credentials(username="other", password="held"), "other", "held"),
        ("redis://user:url@host", Credentials(username="", password=""), "user", "url"),
        ("redis://host", Credentials(username="other", password="held"), "other", "held"),
    ],
)
def test_credentials(url: str, held: Credentials, username: str | None, password: str | None) -> None:
    """User and password come from the URL, undone of their escapes, and settings beat it, each by itself."""
    credentials = parse_address(url, held).credentials
    assert (credentials.username, credentials.password) == (username, password)


def test_sentinel_credentials() -> None:
    """Sentinels have credentials of their own; those of the URL are Redis's."""
    held = Credentials(sentinel_username="watcher", sentinel_password="s")
    credentials = parse_address("redis+sentinel://u:p@host/name", held).credentials
    assert credentials == Credentials(username="u", password="p", sentinel_username="watcher", sentinel_password="s")
    assert parse_address("redis+sentinel://u:p@host/name", NOBODY).credentials.sentinel_password is None
    with pytest.raises(InvalidSettingError, match="for Sentinel is named without a password"):
        parse_address("redis+sentinel://host/name", Credentials(sentinel_username="watcher"))


@given(
    st.sampled_from(["redis://", "redis+sentinel://", "redis+cluster://", "http://", ""]),
    st.text(max_size=20),
    st.text(max_size=40),
)
def test_no_secret_is_shown(scheme: str, before: str, behind: str) -> None:
    """Whatever stands around a user and a password, no sentence, location or repr shows them."""
    url = f"{scheme}{before}Wh0ever:s3cret-Wh0ever@{behind}"
    try:
        address = parse_address(url, NOBODY)
    except InvalidSettingError as error:
        assert "Wh0ever" not in str(error)  # noqa: PT017 - that it raises is one of two good ends
    else:
        assert "Wh0ever" not in address.location + repr(address)
        assert "s3cret" not in repr(address.credentials)


NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\Z")
NODES = st.builds(Node, NAMES | st.sampled_from(["::1", "10.0.0.1", "fe80::1%eth0"]), st.integers(1, 65_535))


@given(
    st.sampled_from(["standalone", "sentinel", "cluster"]),
    st.lists(NODES, min_size=1, max_size=4, unique=True),
    NAMES,
    st.integers(0, 99_999),
    st.booleans(),
)
def test_location_is_read_back(mode: Mode, nodes: list[Node], service: str, database: int, tls: bool) -> None:  # noqa: FBT001 - drawn by chance
    """A location is a URL of the same address, without its credentials."""
    address = RedisAddress(
        mode,
        tuple(nodes[:1] if mode == "standalone" else nodes),
        service if mode == "sentinel" else None,
        0 if mode == "cluster" else database,
        tls,
        NOBODY,
    )
    assert parse_address(address.location, NOBODY) == address


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is an address or is refused; nothing else is raised."""
    for url in (text, f"redis://{text}", f"redis+sentinel://{text}"):
        try:
            address = parse_address(url, NOBODY)
        except InvalidSettingError:
            continue
        assert address.nodes
