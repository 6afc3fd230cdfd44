"""How the calls of one bus are addressed: without a name those of the default, under its name those of any."""

from __future__ import annotations

from typing import Final

from waooaw.events.bus_names import DEFAULT_BUS

BUS_PATH: Final = "/v1/buses/{bus}"


def path_of_bus(path: str, bus: str = "{bus}") -> str:
    """Return the path of a call of a named bus; ``path`` is the one of the default."""
    return BUS_PATH.replace("{bus}", bus) + path.removeprefix("/v1")


def name_of_bus(name: str) -> str:
    """Return the name of the call of a named bus; ``name`` is the one of the default."""
    return f"{name}OfBus"


def path_without_bus(path: str) -> str:
    """Return the path that the same call of the default bus has; any other path as it is."""
    prefix = BUS_PATH.removesuffix("{bus}")
    bus, slash, rest = path.removeprefix(prefix).partition("/")
    return f"/v1/{rest}" if path.startswith(prefix) and bus and slash else path


def path_to(bus: str, path: str) -> str:
    """Return where a call of a bus is: the short path for the default."""
    return path if bus == DEFAULT_BUS else path_of_bus(path, bus)
