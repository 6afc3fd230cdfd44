"""What a typed decoder takes, said in words: for the errors of those who sent something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec.inspect import Type


def find_type(whole: Type, steps: Sequence[str | int]) -> Type | None:
    """Return the type at a place below another one: names of members and indexes; None where there is none known."""
    found: Type | None = whole
    for step in steps:
        if isinstance(found, inspect.StructType):
            found = next((field.type for field in found.fields if field.encode_name == step), None)
        elif isinstance(found, inspect.ListType):
            found = found.item_type
        else:
            return None
    return found


def known_members(kind: Type | None) -> list[str]:
    """Return the names of the members that an object can have."""
    return [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []


def allowed(kind: Type | None) -> str | None:
    """Return what a value must be, such as ``an integer from 1 to 1000``; None for types that no words are for."""
    words: str | None = None
    match kind:
        case inspect.LiteralType():
            words = f"one of {', '.join(map(str, kind.values))}"
        case inspect.IntType():
            words = f"an integer{_span(kind.ge, kind.le)}"
        case inspect.FloatType():
            words = f"a number{_span(kind.ge, kind.le)}"
        case inspect.StrType():
            words = f"a string{_sized(kind.min_length, kind.max_length, 'characters')}"
        case inspect.ListType():
            words = f"an array{_sized(kind.min_length, kind.max_length, 'items')}"
        case inspect.StructType():
            words = "an object"
        case inspect.BoolType():
            words = "true or false"
        case inspect.NoneType():
            words = "null"
        case inspect.UnionType():
            parts = [part for part in map(allowed, kind.types) if part is not None]
            words = " or ".join(parts) if len(parts) == len(kind.types) else None
    return words


def _span(least: float | None, most: float | None) -> str:
    low = "" if least is None else f" from {least:.15g}"
    return low + ("" if most is None else f"{' to' if low else ' up to'} {most:.15g}")


def _sized(least: int | None, most: int | None, what: str) -> str:
    if most is None:
        return "" if least is None else f" of at least {least} {what}"
    return f" of {least} to {most} {what}" if least else f" of at most {most} {what}"
