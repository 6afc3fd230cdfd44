"""What Redis and the link to it say, as our errors. Pure.

Rule 1: what Redis was sent never comes back in a sentence: replies quote arguments ("unknown command 'x', with args
beginning with: …"), and arguments are payloads. From a reply only its first word, and names of commands, are taken.
Rule 2: ``outcome`` is ``not_stored`` where Redis refused before it ran anything, and ``unknown`` elsewhere: where the
link broke, and where an error came from inside a script (scripts do not roll back).
Rule 3: the class of redis-py is looked at first, then the first word of the reply: several kinds have no class, and
redis-py takes the word off where there is one (it is ``status_code`` then).
"""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Final

from redis import exceptions

from waooaw.events.engine.redis.reply_table import CLASSES, RUNBOOK, TEXTS, WORDS, WRONGPASS, Meaning
from waooaw.events.outages import EngineDeniedError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waooaw.events.outages import UnavailableError

_CHAIN_MAX: Final = 8
_SILENT: Final = "did not answer in time; check that it runs, is not overloaded, and that no firewall lies between"
_BROKEN_OFF: Final = "broke the connection off; look at its log"
_CLOSED: Final = "closed the connection; look at its log"
_CLIENT_CERTIFICATE: Final = "it may ask for a client certificate: check the file of ours and its key"
_NO_TLS: Final = ". If the port is one for TLS, write rediss:// for redis://"
_HINTS_WITHOUT_TLS: Final[dict[str, str]] = {_CLOSED: _NO_TLS, _BROKEN_OFF: _NO_TLS}
_HINTS_WITH_TLS: Final[dict[str, str]] = {
    _SILENT: ". If the port is none for TLS, write redis:// for rediss://",
    # With TLS 1.3 a server refuses a client's certificate after the client has begun to write: its reason may be lost.
    _CLOSED: f"; {_CLIENT_CERTIFICATE}",
    _BROKEN_OFF: f"; {_CLIENT_CERTIFICATE}",
}
_SCRIPT_DENIED: Final = re.compile(r"The user executing the script can't|ACL failure in script")
"""How an ACL's refusal inside a script begins (Redis 7.0; later ones and Valkey): behind ``ERR``, not ``NOPERM``."""
_KEYS_DENIED: Final = re.compile(r"access (a|one of the|at least one of the) keys?\b")
_CHANNELS_DENIED: Final = re.compile(r"(access (a|one of the)|publish to the) channels?\b")
_WORD: Final = re.compile(r"[A-Z][A-Z0-9_-]{1,31}")
_COMMAND: Final = re.compile(r"'([A-Za-z][A-Za-z|._-]{0,40})'")
_IN_SCRIPT: Final = re.compile(r"\bscript: [0-9a-f]{40}\b|user_script")


def reply_failure(error: exceptions.RedisError, where: str) -> UnavailableError:
    """Return what an error reply means: `redis.exceptions.ResponseError`, or a kind that redis-py keeps elsewhere.

    ``where`` is the node that answered, such as ``10.0.0.7:6379``.
    """
    word, text = _word(error), str(error)
    meaning = next((meaning for kind, meaning in CLASSES if isinstance(error, kind)), None) or WORDS.get(word)
    meaning = meaning or _by_text(error, word, text)
    if meaning is None:
        shown = f"answered with an error ({word})" if word else "answered with an error"
        meaning = Meaning(EngineUnavailableError, f"{shown}; look at its log")
        known = False
    else:
        known = not _IN_SCRIPT.search(text)
    return meaning.kind(
        f"Redis at {where} {meaning.sentence}",
        retry_after_seconds=meaning.retry_after_seconds,
        outcome="not_stored" if known else "unknown",
    )


def connection_failure(
    error: BaseException, where: str, *, sent: bool = True, tls: bool = False
) -> EngineUnavailableError:
    """Return what a broken link, or one that was never made, means.

    ``where`` as for `reply_failure`. With ``sent`` a command may have reached Redis: its outcome is unknown. Without it
    the connection was being made, with ``tls`` or without. An error that is a reply all the same (redis-py raises some
    as `redis.exceptions.ConnectionError`) is read as one.
    """
    if isinstance(error, exceptions.RedisError) and is_reply(error):
        failure = reply_failure(error, where)
        if isinstance(failure, EngineUnavailableError):
            return failure
        return EngineUnavailableError(failure.detail, retry_after_seconds=failure.retry_after_seconds)
    outcome = "unknown" if sent else "not_stored"
    return EngineUnavailableError(f"Redis at {where} {_link_trouble(error, sent=sent, tls=tls)}", outcome=outcome)


def is_not_executed(error: UnavailableError) -> bool:
    """Tell whether Redis certainly ran no part of the command, so that it can be sent again, to it or to another."""
    return error.outcome == "not_stored"


def is_reply(error: BaseException) -> bool:
    """Tell whether an error of redis-py is an answer of Redis, and not a broken link."""
    replies = (
        exceptions.ResponseError,
        exceptions.BusyLoadingError,
        exceptions.AuthenticationError,
        exceptions.AuthorizationError,
        exceptions.ExternalAuthProviderError,
    )
    if isinstance(error, replies):
        return True
    return isinstance(error, exceptions.RedisError) and error.status_code is not None


def _word(error: exceptions.RedisError) -> str:
    """Return the first word of the reply: redis-py keeps it apart where it has a class for the reply."""
    if error.status_code:
        return error.status_code
    word = str(error).partition(" ")[0]
    return word if _WORD.fullmatch(word) else ""


def _by_text(error: exceptions.RedisError, word: str, text: str) -> Meaning | None:
    if isinstance(error, exceptions.NoPermissionError) or word == "NOPERM" or _SCRIPT_DENIED.search(text):
        return _not_permitted(text)
    for part, meaning in TEXTS:
        if part in text:
            return meaning
    if isinstance(error, exceptions.AuthenticationError):
        return WRONGPASS
    if "unknown command" in text or "Unknown Redis command" in text:
        found = _COMMAND.search(text.partition("with args")[0])
        command = _spelled(found) if found else "that was sent"
        advice = "check that the address names a Redis 7.0 or newer, no Sentinel and no proxy, and that it renames none"
        return Meaning(EngineUnavailableError, f"does not know the command {command}; {advice}", 5)
    return None


def _not_permitted(text: str) -> Meaning:
    """Say what the user lacks. Redis names commands between quotes; keys and channels it does not name."""
    if _CHANNELS_DENIED.search(text):
        lacks = "the channels &wowevent:*"
    elif _KEYS_DENIED.search(text):
        lacks = "the keys ~wowevent:*"
    elif found := _COMMAND.search(text):
        lacks = f"the command {_spelled(found)}"
    else:
        lacks = "a command that a script of ours uses"
    sentence = f"does not let our user at {lacks}; give it the rights that {RUNBOOK} lists"
    return Meaning(EngineDeniedError, sentence, 5)


def _spelled(found: re.Match[str]) -> str:
    return found[1].upper().replace("|", " ")


def _link_trouble(error: BaseException, *, sent: bool, tls: bool) -> str:
    trouble = next(filter(None, map(_cause_trouble, _chain(error))), _CLOSED)
    if sent:
        return trouble
    hints = _HINTS_WITH_TLS if tls else _HINTS_WITHOUT_TLS
    return trouble + hints.get(trouble, "")


def _cause_trouble(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLError):
        return _tls_trouble(cause)
    if isinstance(cause, TimeoutError | exceptions.TimeoutError):
        return _SILENT
    if isinstance(cause, OSError):
        return _system_trouble(cause)
    if isinstance(cause, exceptions.InvalidResponse):
        return "does not speak the protocol of Redis; check the host and port of the address"
    return ""


def _system_trouble(cause: OSError) -> str:
    if isinstance(cause, ConnectionRefusedError):
        return "refused the connection; check that it runs, and the host and port of the address"
    if isinstance(cause, ConnectionError):
        return _BROKEN_OFF
    reason = os.strerror(cause.errno) if cause.errno else "the system gave no reason"
    return f"cannot be reached ({reason}); check the network, and the host and port of the address"


def _tls_trouble(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({error.verify_message.rstrip('.')}); check the CA file of the "
            "settings, and that the certificate is for the host that the address names"
        )
    reason = (error.reason or "TLS failed").replace("_", " ").lower()
    if reason in {"wrong version number", "record layer failure"}:
        return "does not speak TLS on this port; write redis:// instead of rediss://, or name the port for TLS"
    if "alert" in reason or "unexpected eof" in reason or "eof occurred" in reason:
        return f"ended the TLS connection ({reason}); {_CLIENT_CERTIFICATE}"
    return f"could not be spoken to by TLS ({reason}); check the certificates and the TLS versions of both sides"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go from an error to what it was made of: redis-py wraps, and keeps the inner one as its context."""
    current: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__
