"""The arrows between the layers: who may import whom, and which library belongs where.

A layer is a folder of ``waooaw/events``, and the flat modules beside the folders are the core. What a table below does
not allow is refused, so that a new layer has to be written down here before anything may use it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from tests.architecture.source import PACKAGE, Import, Source, imports

ENTRY_MODULES: Final = {
    "__init__": "names",
    "__main__": "cli",
    "connect": "connect",
    "handling": "handling",
    "name_lookup": "name_lookup",
    "testing": "testing",
}
"""Flat modules that are no core."""

COMPOSING_MODULES: Final = {"service.app": "service.app", "cli.serve": "cli.serve", "cli.epoch": "cli.serve"}
"""Modules that put parts together, by the layer whose arrows they have."""

ARROWS: Final[dict[str, frozenset[str]]] = {
    "core": frozenset({"core"}),
    "engine.contract": frozenset({"core", "engine.contract"}),
    "engine": frozenset({"core", "engine.contract", "engine"}),
    # Only the engines' own front door and the service's composition root name a concrete engine.
    "engine.front": frozenset({"core", "engine.contract", "engine", "engine.sqlite", "engine.redis"}),
    "engine.sqlite": frozenset({"core", "engine.contract", "engine", "engine.sqlite"}),
    "engine.redis": frozenset({"core", "engine.contract", "engine", "engine.redis", "name_lookup"}),
    "bus": frozenset({"core", "engine.contract", "bus"}),
    # Calls receivers for the bus, and is called by the service.
    "webhooks": frozenset({"core", "engine.contract", "bus", "name_lookup", "webhooks"}),
    "service": frozenset({"core", "engine.contract", "bus", "webhooks", "service", "service.app"}),
    "service.app": frozenset(
        {
            "core",
            "engine.contract",
            "engine",
            "engine.front",
            "engine.sqlite",
            "engine.redis",
            "bus",
            "webhooks",
            "service",
        }
    ),
    "client": frozenset({"core", "client"}),
    "cli": frozenset({"core", "client", "handling", "cli", "cli.serve"}),
    # Runs handlers over any consumer, so it waits, and knows no layer.
    "handling": frozenset({"core"}),
    # Waits for DNS, beside whoever asks.
    "name_lookup": frozenset({"core"}),
    # The library's composition root and its list of names stand above what they put together.
    "connect": frozenset({"core"}),
    "names": frozenset({"core", "engine.contract", "bus", "client", "connect", "handling"}),
    "testing": frozenset({"core", "engine.contract", "engine", "engine.front", "bus", "client", "connect"}),
}

LAZY_ARROWS: Final[dict[str, frozenset[str]]] = {
    "cli.serve": frozenset({"service", "service.app"}),
    "connect": frozenset(
        {"client", "bus", "engine.contract", "engine", "engine.front", "engine.sqlite", "engine.redis"}
    ),
}
"""Allowed inside a function only (or for types), so that whoever does not call it does not load it."""

CORE_LIBRARIES: Final = frozenset({"msgspec", "uuid_utils"})

LIBRARY_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "aiohttp": ("service", "client", "webhooks"),
    "click": ("cli",),
    "hiredis": ("engine.redis",),
    "prometheus_client": ("service",),
    "redis": ("engine.redis",),
    "rich": ("cli",),
    "sqlite3": ("engine.sqlite",),
    "uvloop": ("service", "cli"),
}
"""Libraries that stop at the layer which adapts them: their errors and their types go no further."""

INPUT_AND_OUTPUT: Final = frozenset(
    {
        "asyncio",
        "concurrent",
        "ftplib",
        "http.client",
        "http.server",
        "multiprocessing",
        "select",
        "selectors",
        "shutil",
    }
    | {"signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading"}
    | {"urllib.request"}
)
"""Parts of the standard library that read, write or wait: the core does none of that."""


def layer_of(module: str) -> str:
    """The layer of one of our modules, as the tables above name it."""
    parts = module.removeprefix(PACKAGE).lstrip(".").split(".")
    folder, rest = parts[0], parts[1:]
    if folder == "engine":
        return _engine_layer(rest)
    if folder in {"bus", "webhooks", "service", "client", "cli"}:
        return COMPOSING_MODULES.get(".".join([folder, *rest[:1]]), folder)
    return "names" if not folder else ENTRY_MODULES.get(folder, "core")


def _engine_layer(rest: Sequence[str]) -> str:
    if not rest:
        return "engine.front"
    if rest[0].endswith("contract"):  # one contract in several files
        return "engine.contract"
    return f"engine.{rest[0]}" if rest[0] in {"redis", "sqlite"} else "engine"


def arrows(sources: Sequence[Source]) -> Iterator[str]:
    """Imports that point upwards or sideways."""
    for source, found in _product_imports(sources):
        if not _is_ours(found.target):
            continue
        layer, target = layer_of(source.module), layer_of(found.target)
        allowed = ARROWS.get(layer) or ARROWS[layer.partition(".")[0]]
        if target in allowed:
            continue
        if target not in LAZY_ARROWS.get(layer, frozenset()):
            yield source.at(
                found.line, f"{layer} imports {found.target}, which is {target}: it may import {_list(allowed)}"
            )
        elif not (found.lazy or found.typing_only):
            yield source.at(found.line, f"{layer} may import {found.target} only inside a function")


def core_libraries(sources: Sequence[Source]) -> Iterator[str]:
    """Core modules that import more than the standard library's values, msgspec and uuid_utils."""
    for source, found in _product_imports(sources):
        if layer_of(source.module) != "core" or _is_ours(found.target):
            continue
        root = found.target.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in CORE_LIBRARIES:
            yield source.at(
                found.line, f"the core imports {found.target}: it may use the standard library, {_list(CORE_LIBRARIES)}"
            )
        elif any(f"{found.full}.".startswith(f"{name}.") for name in INPUT_AND_OUTPUT):
            yield source.at(
                found.line, f"the core imports {found.target}: it decides, and leaves doing to the layers above"
            )


def library_homes(sources: Sequence[Source]) -> Iterator[str]:
    """Libraries outside the layer that adapts them."""
    for source, found in _product_imports(sources):
        homes = LIBRARY_HOMES.get(found.target.partition(".")[0])
        layer = layer_of(source.module)
        if homes and layer not in homes and layer.partition(".")[0] not in homes:
            yield source.at(found.line, f"{layer} imports {found.target}, which stays in {_list(homes)}")


def testing_stays_in_tests(sources: Sequence[Source]) -> Iterator[str]:
    """Product modules that import what is there for the tests of users."""
    for source, found in _product_imports(sources):
        if found.target == f"{PACKAGE}.testing" or found.target.partition(".")[0] in {"tests", "bench"}:
            yield source.at(found.line, f"{found.target} is for tests: the product does not need it")


def cycles(sources: Sequence[Source]) -> Iterator[str]:
    """Rings of modules that import each other; what is imported for types alone does not count."""
    modules = {source.module for source in sources}
    graph = {
        source.module: sorted(
            {found.target for found in imports(source, modules) if not found.typing_only and found.target in modules}
        )
        for source in sources
    }
    finished: set[str] = set()
    for start in sorted(graph):
        yield from _rings(graph, start, (), finished)


def _rings(graph: dict[str, list[str]], module: str, path: tuple[str, ...], finished: set[str]) -> Iterator[str]:
    if module in path:
        yield "import cycle: " + " -> ".join([*path[path.index(module) :], module])
    elif module not in finished:
        for target in graph[module]:
            yield from _rings(graph, target, (*path, module), finished)
        finished.add(module)


def _product_imports(sources: Sequence[Source]) -> Iterator[tuple[Source, Import]]:
    modules = {source.module for source in sources}
    for source in sources:
        if source.is_product:
            for found in imports(source, modules):
                yield source, found


def _is_ours(target: str) -> bool:
    return target == PACKAGE or target.startswith(f"{PACKAGE}.")


def _list(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))
