"""What broken links, and replies that no test can bring about, become."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from redis._parsers.base import BaseParser

from waooaw.events.engine.redis.failure import connection_failure, is_not_executed, is_reply, reply_failure
from waooaw.events.outages import EngineDeniedError, EngineLoadingError, EngineUnavailableError, StorageFullError


def _reply(text: str) -> exceptions.RedisError:
    """Read a reply as redis-py does."""
    error = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]  # redis-py leaves this one without types
    assert isinstance(error, exceptions.RedisError)
    return error


def _wrapped(inner: BaseException) -> exceptions.ConnectionError:
    """Wrap an error as redis-py does: raised while another was handled."""
    try:
        try:
            raise inner
        except type(inner) as error:
            raise exceptions.ConnectionError(str(error))  # noqa: B904 - as redis-py does it
    except exceptions.ConnectionError as outer:
        return outer


def _tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "refused the connection; check that it runs"),
        (ConnectionResetError(104, "Connection reset by peer"), "broke the connection off"),
        (BrokenPipeError(32, "Broken pipe"), "broke the connection off"),
        (TimeoutError(), "did not answer in time"),
        (exceptions.TimeoutError("Timeout reading from socket"), "did not answer in time"),
        (OSError(113, "No route to host"), "cannot be reached (No route to host)"),
        (OSError(24, "Too many open files"), "cannot be reached (Too many open files)"),
        (OSError("odd"), "cannot be reached (the system gave no reason)"),
        (exceptions.ConnectionError("Connection closed by server."), "closed the connection"),
        (exceptions.InvalidResponse('Protocol error, got "H" as reply type byte'), "does not speak the protocol"),
        (EOFError(), "closed the connection"),
        (_tls("WRONG_VERSION_NUMBER"), "does not speak TLS on this port"),
        (
            _tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "ended the TLS connection (tlsv13 alert certificate required); it may ask for a",
        ),
        (_tls("NO_SHARED_CIPHER"), "could not be spoken to by TLS (no shared cipher)"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_links(error: BaseException, told: str, wrapped: bool) -> None:  # noqa: FBT001 - both ways of the table
    """Each way in which a link breaks says what to look at, also where redis-py has wrapped it."""
    if wrapped and not isinstance(error, exceptions.RedisError | EOFError):
        error = _wrapped(error)
    failure = connection_failure(error, "node:1")
    assert type(failure) is EngineUnavailableError
    assert str(failure).startswith(f"Redis at node:1 {told}")
    assert not is_not_executed(failure)
    assert is_not_executed(connection_failure(error, "node:1", sent=False))


def test_hints_about_tls() -> None:
    """While a connection is made, silence and a closed door may mean that TLS is on where it should be off, or off."""
    closed, silent = exceptions.ConnectionError("Connection closed by server."), TimeoutError()
    assert "write rediss:// for redis://" in str(connection_failure(closed, "n", sent=False))
    assert "write redis:// for rediss://" in str(connection_failure(silent, "n", sent=False, tls=True))
    assert "may ask for a client certificate" in str(connection_failure(closed, "n", sent=False, tls=True))
    assert "rediss" not in str(connection_failure(silent, "n", sent=False))
    assert "rediss" not in str(connection_failure(closed, "n"))


def test_replies_among_broken_links() -> None:
    """redis-py raises some replies as broken links; they are read as what they are: nothing was run."""
    loading = _reply("LOADING Redis is loading the dataset in memory")
    assert isinstance(loading, exceptions.ConnectionError)
    failure = connection_failure(loading, "node:1")
    assert type(failure) is EngineLoadingError
    assert is_not_executed(failure)
    assert not is_reply(exceptions.ConnectionError("Connection closed by server."))
    full = connection_failure(_reply("OOM command not allowed"), "node:1")
    assert type(full) is EngineUnavailableError
    assert "maxmemory" in str(full)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        ("DENIED Redis is running in protected mode because", EngineDeniedError, "runs in protected mode"),
        ("ERR problem with LDAP service", EngineDeniedError, "external provider of users"),
        ("ERR invalid password", EngineDeniedError, "refused the user or the password"),
        ("ERR max number of clients + cluster connections reached", EngineUnavailableError, "raise maxclients"),
        ("ERR No such master with that name", EngineUnavailableError, "watches no service of this name"),
        ("ERR SELECT is not allowed in cluster mode", EngineUnavailableError, "write redis+cluster://"),
        ("ERR Unknown Redis command called from script", EngineUnavailableError, "the command that was sent"),
        ("OOM command not allowed when used memory > 'maxmemory'.", StorageFullError, "raise maxmemory"),
        ("NEWWORD p4yload", EngineUnavailableError, "answered with an error (NEWWORD); look at its log"),
        ("p4yload", EngineUnavailableError, "answered with an error; look at its log"),
        ("", EngineUnavailableError, "answered with an error; look at its log"),
    ],
)
def test_replies(reply: str, kind: type[EngineUnavailableError], told: str) -> None:
    """Replies that a test cannot bring about are told apart all the same."""
    failure = reply_failure(_reply(reply), "node:1")
    assert type(failure) is kind
    assert told in str(failure)
    assert "p4yload" not in str(failure)


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=30), st.sampled_from(["ERR", "WRONGTYPE", "EXECABORT", "X"])
)
def test_replies_show_nothing_of_what_was_sent(text: str, word: str) -> None:
    """Whatever a reply quotes, the sentence does not."""
    marked = f"{word} {text} s3cret-{text} 's3cret with space', with args beginning with: 's3cret'"
    assert "s3cret" not in str(reply_failure(_reply(marked), "node:1"))
    assert "s3cret" not in str(connection_failure(exceptions.ConnectionError(marked), "node:1"))
