"""Tables as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(lines: Sequence[Mapping[str, str]], markdown: bool = False) -> str:
    """Lines of cells by column; the first line names the columns, in their order."""
    columns = list(lines[0])
    cells = [columns, *([line.get(column, "") for column in columns] for line in lines)]
    if markdown:
        rows = [f"| {' | '.join(row)} |" for row in cells]
        return "\n".join([rows[0], "|---" * len(columns) + "|", *rows[1:]])
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    padded = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return "\n".join([padded[0], "  ".join("-" * width for width in widths), *padded[1:]])
