"""The script that is written beside an exported network: how to use it, without nnexp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnexp.data.encoder import Column
from nnexp.prediction.exported import MISSING, Signature

_MOST_NAMED = 8  # columns or categories in a comment


def example_script(file_name: str, signature: Signature) -> str:
    """Return a Python script that predicts two rows with the file beside it.

    Args:
        file_name: of the exported network; its suffix says what runs it.
    """
    is_onnx = Path(file_name).suffix.lower() == ".onnx"
    lines = [
        f'"""How to use {_inline(file_name)}, which nnexp export has written."""',
        "",
        "from pathlib import Path",
        "",
    ]
    lines += ["import numpy as np", "import onnxruntime"] if is_onnx else ["import torch"]
    lines += ["", f"FILE = Path(__file__).with_name({file_name!r})"]
    lines += [f"CLASSES = {list(signature.class_names)!r}"] if signature.class_names else []
    lines += [""]
    for name, columns in signature.groups.items():
        lines += _input(name, columns, is_onnx=is_onnx)
    names = list(signature.groups)
    if is_onnx:
        given = ", ".join(f'"{name}": {name}' for name in names)
        lines += [
            "session = onnxruntime.InferenceSession(FILE)",
            f"({signature.output},) = session.run(None, {{{given}}})",
        ]
    else:
        lines += [
            "network = torch.export.load(FILE).module()",
            "with torch.no_grad():",
            f"    {signature.output} = network({', '.join(names)}).numpy()",
        ]
    if signature.class_names:
        lines += [
            "for row in probabilities:",
            "    print(CLASSES[row.argmax()], dict(zip(CLASSES, row.tolist())))",
        ]
    else:
        lines += ["for row in prediction:", "    print(row.item())"]
    return "\n".join(lines) + "\n"


def _input(name: str, columns: Sequence[Column], *, is_onnx: bool) -> list[str]:
    """Two rows of an input, with a comment on its columns."""
    names = _few([column.name for column in columns])
    match name:
        case "categories" if is_onnx:
            head = [f"# {names}: texts as in training, an empty one where there is no value"]
            head += [f"#   {_inline(c.name)}: {_few(c.categories)}" for c in columns]
            rows: list[list[Any]] = [[c.categories[0] for c in columns], ["" for _ in columns]]
            made = f"np.array({rows!r}, dtype=object)"
        case "categories":
            head = [
                f"# {names}: places in the column's list of categories, {MISSING} where there is no"
                " value, -2 for any other"
            ]
            head += [f"#   {_inline(c.name)}: {_few(c.categories)}" for c in columns]
            rows = [[0] * len(columns), [MISSING] * len(columns)]
            made = f"torch.tensor({rows!r})"
        case "dates":
            head = [f"# {names}: seconds since 1970-01-01 00:00 UTC, nan where there is no value"]
            origins = [0.0 if c.dates is None else c.dates.origin for c in columns]
            made = _floats([origins, [float("nan")] * len(columns)], is_onnx=is_onnx)
        case _:
            head = [f"# {names}: numbers, nan where there is no value"]
            made = _floats([[0.0] * len(columns), [1.0] * len(columns)], is_onnx=is_onnx)
    return [*head, f"{name} = {made}"]


def _floats(rows: list[list[float]], *, is_onnx: bool) -> str:
    text = repr(rows).replace("nan", 'float("nan")')
    return f"np.array({text})" if is_onnx else f"torch.tensor({text}, dtype=torch.float64)"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = ", ".join(map(_inline, names[:_MOST_NAMED]))
    return shown + (f" and {more} more, in this order in the file's metadata" if more > 0 else "")


def _inline(text: str) -> str:
    """A name in a comment or a docstring: one line, whatever it holds."""
    shown = "".join(char if char.isprintable() and char != "\\" else " " for char in text)
    return shown.replace('"', "'")
