"""The options of ``wowevent sub create`` that are about the receiver of a webhook.

Rule: a secret can be given so that it stands neither in the list of processes nor in the history of a shell: by a
file, by standard input, by the environment.
"""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from waooaw.events.push import CONCURRENCY, RATE, TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN: Final = {
    "push_url": "url",
    "push_mode": "mode",
    "push_handshake": "handshake",
    "push_timeout": "timeout_seconds",
    "push_concurrency": "concurrency",
    "push_rate": "rate",
}
"""Options that are a member each."""

_FILE: Final = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

_OPTIONS: Final = (
    click.option("--push-url", metavar="URL", help="Send its events there by HTTP, instead of waiting for members."),
    click.option(
        "--push-mode",
        type=click.Choice(["binary", "structured", "batch"]),
        help="Data with attributes as headers, one event in JSON, or up to 100 of these; binary.",
    ),
    click.option(
        "--push-header", "push_headers", multiple=True, metavar="NAME=VALUE", help="A further header; may be repeated."
    ),
    click.option(
        "--push-authorization",
        envvar="WOWEVENT_PUSH_AUTHORIZATION",
        metavar="VALUE",
        help="The Authorization header, such as 'Bearer …'.  [variable: WOWEVENT_PUSH_AUTHORIZATION]",
    ),
    click.option(
        "--push-authorization-file", type=_FILE, metavar="FILE", help="A file that has it, or - for standard input."
    ),
    click.option(
        "--push-secret",
        "push_secrets",
        multiple=True,
        envvar="WOWEVENT_PUSH_SECRET",
        metavar="SECRET",
        help="What signs the requests; twice while one replaces the other. `wowevent sub secret` makes one.  "
        "[variable: WOWEVENT_PUSH_SECRET]",
    ),
    click.option(
        "--push-secret-file",
        type=_FILE,
        metavar="FILE",
        help="A file that has it, or - for standard input; one a line.",
    ),
    click.option(
        "--push-handshake",
        type=click.Choice(["options", "none"]),
        help="none: do not ask the receiver for its consent, but begin slowly; options.",
    ),
    click.option(
        "--push-timeout",
        type=click.FloatRange(*TIMEOUT_SECONDS),
        metavar="SECONDS",
        help="Of a request with its answer; 30.",
    ),
    click.option(
        "--push-concurrency", type=click.IntRange(*CONCURRENCY), metavar="NUMBER", help="Requests at a time; 10."
    ),
    click.option("--push-rate", type=click.FloatRange(*RATE), metavar="NUMBER", help="Requests a second at most."),
)


def push_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which hands them to `push_members_of`."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), function)


def push_members_of(options: dict[str, Any], before: object) -> dict[str, Any] | None:
    """Return ``push`` of a definition as options and a file (``before``) give it; None where neither does.

    What the environment has counts for definitions that are pushed, and makes none so.
    """
    members: dict[str, Any] = dict(before) if isinstance(before, dict) else {}
    given = {member: options[name] for name, member in PLAIN.items() if options[name] is not None}
    if options["push_headers"]:
        headers = members.get("headers")
        given["headers"] = (dict(headers) if isinstance(headers, dict) else {}) | _headers(options["push_headers"])
    _one_standard_input(options)
    if options["push_authorization_file"] is not None:
        given["authorization"] = _text_of(options["push_authorization_file"]).strip()
    if options["push_secret_file"] is not None:
        given["secret"] = _text_of(options["push_secret_file"]).split()
    found = {"authorization": options["push_authorization"], "secret": list(options["push_secrets"])}
    from_environment = {
        member: found[member]
        for member, name in (("authorization", "push_authorization"), ("secret", "push_secrets"))
        if found[member] and member not in given and _is_from_environment(name)
    }
    given |= {
        member: value
        for member, value in found.items()
        if value and member not in given and member not in from_environment
    }
    if "url" not in members and "url" not in given:
        if given:
            raise click.UsageError("options of a webhook need its --push-url")
        return members if isinstance(before, dict) else None
    return members | from_environment | given


def _is_from_environment(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def _headers(texts: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for text in texts:
        name, is_whole, value = text.partition("=")
        if not (name and is_whole):
            # Not shown: it can be a value without its name.
            raise click.BadParameter("a header is NAME=VALUE", param_hint="--push-header")
        headers[name.strip()] = value.strip()
    return headers


def _one_standard_input(options: dict[str, Any]) -> None:
    taking = [name for name in ("file", "push_authorization_file", "push_secret_file") if str(options.get(name)) == "-"]
    if len(taking) > 1:
        spelled = " and ".join(f"--{name.replace('_', '-')}" for name in taking)
        raise click.UsageError(f"{spelled} cannot both be standard input")


def _text_of(file: Path) -> str:
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is no text in ASCII", param_hint="a file of secrets") from None
