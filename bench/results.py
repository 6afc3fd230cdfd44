"""`RESULTS.md` has a part for each engine; a run replaces its own and leaves the others."""

from __future__ import annotations


def with_part(document: str, part: str) -> str:
    """Return `document` with `part`, which begins with a heading of the first level, in place of the one so headed.

    A part that is not there yet is added at the end.
    """
    parts = _parts(document)
    title = part.partition("\n")[0]
    kept = part.strip("\n")
    titles = [one.partition("\n")[0] for one in parts]
    if title in titles:
        parts[titles.index(title)] = kept
    else:
        parts.append(kept)
    return "\n\n".join(parts) + "\n"


def _parts(document: str) -> list[str]:
    """Return what stands below each heading of the first level, with the heading."""
    parts: list[list[str]] = []
    in_code = False
    for line in document.splitlines():
        in_code ^= line.startswith("```")
        if not parts or (line.startswith("# ") and not in_code):
            parts.append([])
        parts[-1].append(line)
    return [text for lines in parts if (text := "\n".join(lines).strip("\n"))]
