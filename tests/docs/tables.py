"""The tables of the guide that are made from the code. ``python -m tests.docs.tables`` writes them anew."""

from __future__ import annotations

import http.client
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import click
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.blocks import GUIDE
from tests.http_call import call
from tests.service_process import ServiceProcess
from waooaw.events.cli.commands import NAMES, commands
from waooaw.events.error_table import ERRORS
from waooaw.events.errors import StartupError, WowEventError
from waooaw.events.service.openapi import DOCUMENT
from waooaw.events.service.routes import ROUTES
from waooaw.events.settings import SETTINGS

STREAM_SECONDS: Final = 30.0

BUS_PATHS: Final = "/v1/buses/{bus}/"

_MARKED: Final = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _sentence(docstring: str | None) -> str:
    """The whole docstring in one line, with Markdown's code marks."""
    return " ".join((docstring or "").replace("``", "`").split())


def routes() -> str:
    """Every call; those of a bus by its name are the same calls again, which the guide says in one sentence."""
    return _table(
        ("Call", "Name", "What it does"),
        (
            (_code(f"{route.method} {route.path}"), _code(route.name), operation["summary"])
            for route in ROUTES
            if not route.path.startswith(BUS_PATHS)
            for operation in [DOCUMENT["paths"][route.path][route.method.lower()]]
        ),
    )


def settings() -> str:
    """Every setting."""
    return _table(
        ("Variable", "Flag", "Default", "What it is for, and why it is so"),
        (
            (
                _code(info.variable),
                _code(info.flag),
                _code(info.default_text) if info.default_text else "",
                info.rule.help,
            )
            for info in SETTINGS
        ),
    )


def _status(kind: type[WowEventError]) -> str:
    return "at the start" if issubclass(kind, StartupError) else str(kind.status)


def errors() -> str:
    """Every code."""
    return _table(
        ("Code", "Status", "Retry", "Meaning"),
        (
            (_code(kind.code), _status(kind), "yes" if kind.retryable else "no", _sentence(kind.__doc__))
            for kind in sorted(ERRORS, key=lambda kind: (issubclass(kind, StartupError), kind.status, kind.code))
        ),
    )


def metrics(scrape: str) -> str:
    """Every metric family, from the Prometheus text of a service that has seen each kind of traffic."""
    return _table(
        ("Name", "Type", "Labels", "What it says"),
        (
            (
                _code(f"{family.name}_total" if family.type == "counter" else family.name),
                family.type,
                ", ".join(
                    _code(label) for label in sorted({name for sample in family.samples for name in sample.labels})
                ),
                family.documentation,
            )
            for family in text_string_to_metric_families(scrape)
        ),
    )


def command_rows() -> Iterator[tuple[str, str, str]]:
    """Every command with its options, but for the settings, which are a table of their own."""
    context = click.Context(commands)
    for name in NAMES:
        command = commands.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            for part, member in command.commands.items():
                yield from _rows_of(f"wowevent {name} {part}", member)
        else:
            yield from _rows_of(f"wowevent {name}", command)


def _rows_of(spelled: str, command: click.Command) -> Iterator[tuple[str, str, str]]:
    yield _code(spelled), "", command.get_short_help_str(limit=200)
    setting_flags = {info.flag for info in SETTINGS}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not setting_flags.intersection(parameter.opts):
            metavar = "" if parameter.is_flag else f" {parameter.make_metavar(click.Context(command))}"
            yield "", _code(f"{', '.join(parameter.opts)}{metavar}"), parameter.help or ""
        elif isinstance(parameter, click.Argument):
            yield "", _code(parameter.make_metavar(click.Context(command))), ""


def cli() -> str:
    """Every command and option."""
    return _table(("Command", "Option", "What it does"), command_rows())


def scrape(folder: Path) -> str:
    """Return the metrics of a service after traffic of each kind."""
    json_type = {"Content-Type": "application/json"}
    with ServiceProcess(folder) as service:
        call(service.url, "POST", "/v1/events", json_type, b'{"type":"a"}')
        with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=STREAM_SECONDS)) as reading:
            reading.request("GET", "/v1/stream")
            stream = reading.getresponse()
            call(service.url, "POST", "/v1/events", json_type, b'{"type":"a","source":"/a"}')
            while not stream.readline().startswith(b"data: "):
                pass
        call(service.url, "PUT", "/v1/subscriptions/a", json_type, b'{"patterns":["a"]}')
        while 'subscription="a"' not in (text := call(service.url, "GET", "/metrics?format=prometheus").body.decode()):
            pass
        return text


def render(prometheus: str) -> dict[str, str]:
    """Return every table by its name."""
    return {
        "routes": routes(),
        "settings": settings(),
        "errors": errors(),
        "metrics": metrics(prometheus),
        "cli": cli(),
    }


def with_tables(text: str, tables: dict[str, str]) -> str:
    """Return a document with its tables made anew; KeyError for one that is not known."""
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]}{found[4]}", text)


def main() -> None:
    """Write the tables of the guide."""
    with tempfile.TemporaryDirectory() as folder:
        tables = render(scrape(Path(folder)))
    text = GUIDE.read_text("utf-8")
    GUIDE.write_text(with_tables(text, tables), "utf-8")
    sys.stdout.write(f"{len(_MARKED.findall(text))} tables of {GUIDE}\n")


if __name__ == "__main__":
    main()
