"""Export a trained network with its preprocessing: ``.pt2`` by ``torch.export``, or ``.onnx``.

What is written is checked first: it is loaded as a user would, computes rows with gaps and new
categories in several numbers, and must agree with the network.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnexp.data.table import Table
from nnexp.errors import DataError, NnexpError
from nnexp.prediction.example_script import example_script
from nnexp.prediction.exported import UNSEEN, ExportedNetwork, Signature, drawn_table
from nnexp.prediction.output_files import replacing
from nnexp.prediction.predictors import Predictor
from nnexp.runs.trained_network import Treatment

TOLERANCE = 1e-6
"""How far a probability may be from the network's own, by the rounding of float32; a prediction of
a regression in standard deviations of the target."""
METADATA = "nnexp"
"""The key of what describes inputs and classes, in JSON."""
_CHECKED_ROWS = (1, 2, 33, 500)
_TRACED_ROWS = 3


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a file that cannot be exported to.

    Raises:
        DataError: another suffix, no folder, or a file that is there already without ``force``.
    """
    if path.suffix.lower() not in _WRITERS:
        raise DataError(f"{path}: must end in {' or '.join(_WRITERS)}")
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    for file in (path, example_path(path)):
        if file.is_dir():
            raise DataError(f"{file}: is a folder")
        if file.exists() and not force:
            raise DataError(f"{file}: is there already; --force replaces it")


def example_path(path: Path) -> Path:
    """Return where the example of use for an exported file goes."""
    return path.with_name(f"{path.stem}_{path.suffix.lower()[1:]}_example.py")


def export(predictor: Predictor, path: Path, *, tolerance: float = TOLERANCE) -> float:
    """Write a network to ``path``, and an example of its use beside it.

    Returns:
        The largest difference on the rows that were checked, as in ``TOLERANCE``.

    Raises:
        DataError: the result differs by more than ``tolerance``; nothing is written then.
        NnexpError: a module that torch cannot export, or a package that is not installed.
        OSError: a file that cannot be written.
    """
    if predictor.networks[0].text_encoder is not None:
        raise NnexpError(
            "the network reads lines of text, which is not exported; network.module of "
            "nnexp.runs.checkpoints.load_network is the part behind the encoding"
        )
    module = ExportedNetwork(predictor.networks).eval()
    signature = Signature.of(predictor.networks[0])
    write, load = _WRITERS[path.suffix.lower()]
    with replacing(path) as temporary:
        with _quiet():
            write(module, signature, temporary)
            difference = _difference(predictor, signature, load(temporary, signature))
        if not difference <= tolerance:
            raise DataError(
                f"{path}: not written, since outputs of the exported network differ by up "
                f"to {difference:.2g} from those of the network, more than {tolerance:g}; "
                "--tolerance allows for more"
            )
        with replacing(example_path(path)) as example:
            text = example_script(path.name, signature)
            example.write_text(text, encoding="utf-8")
    return difference


Compute = Callable[[Table], "NDArray[Any]"]
"""Probabilities [B, C] of a table, or predictions [B, 1]."""


def _difference(predictor: Predictor, signature: Signature, compute: Compute) -> float:
    largest = 0.0
    for seed, num_rows in enumerate(_CHECKED_ROWS):
        table = drawn_table(predictor.networks[0], num_rows, seed)
        found = compute(table)
        expected, unit = _expected(predictor, table)
        if found.shape != expected.shape or not np.isfinite(found).all():
            return float("inf")
        largest = max(largest, float(np.abs(found - expected).max()) / unit)
    return largest


def _expected(predictor: Predictor, table: Table) -> tuple[NDArray[Any], float]:
    """The network's own outputs, and what a difference is measured in."""
    target = predictor.networks[0].target
    if target is not None:
        return predictor.quantities(table, Treatment())[:, np.newaxis], target.std
    probabilities, _ = predictor.outputs(table, Treatment())
    return probabilities.numpy(), 1.0


def _program(module: ExportedNetwork, signature: Signature) -> torch.export.ExportedProgram:
    """The module traced for any number of rows."""
    batch = torch.export.Dim("batch", min=1)
    inputs = _traced_inputs(signature)
    try:
        return torch.export.export(
            module, inputs, dynamic_shapes=(tuple({0: batch} for _ in inputs),), strict=False
        )
    except Exception as error:  # torch raises whatever its tracer meets
        line = str(error).strip().partition("\n")[0]
        raise NnexpError(
            f"torch.export cannot export the network: {type(error).__name__}: {line}"
        ) from error


def _traced_inputs(signature: Signature) -> tuple[Tensor, ...]:
    kinds = {"categories": torch.int64}
    return tuple(
        torch.zeros(_TRACED_ROWS, len(columns), dtype=kinds.get(name, torch.float64))
        for name, columns in signature.groups.items()
    )


# ── .pt2 ──────────────────────────────────────────────────────────────────────────────────────


def _write_pt2(module: ExportedNetwork, signature: Signature, path: Path) -> None:
    program = _program(module, signature)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={METADATA: signature.to_json()})
    path.write_bytes(content.getbuffer())


def _load_pt2(path: Path, signature: Signature) -> Compute:
    module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    @torch.no_grad()
    def compute(table: Table) -> NDArray[Any]:
        found: NDArray[Any] = module(*signature.tensors(table)).numpy()
        return found

    return compute


# ── .onnx ─────────────────────────────────────────────────────────────────────────────────────


def _write_onnx(module: ExportedNetwork, signature: Signature, path: Path) -> None:
    onnx = _onnx()
    program = _program(module, signature)
    names = [_inner(name) for name in signature.groups]
    converted = torch.onnx.export(
        program, dynamo=True, input_names=names, output_names=[signature.output], verbose=False
    )
    assert converted is not None
    model = converted.model_proto
    if "categories" in signature.groups:
        _take_texts(onnx, model, signature)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, signature.to_json()
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _inner(name: str) -> str:
    return "codes" if name == "categories" else name


def _take_texts(onnx: Any, model: Any, signature: Signature) -> None:
    """Put before the graph what turns the texts of categories into codes."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = model.graph
    columns = signature.groups["categories"]
    place = next(i for i, value in enumerate(graph.input) if value.name == "codes")
    batch = graph.input[place].type.tensor_type.shape.dim[0].dim_param or "batch"
    nodes, coded = [], []
    for number, column in enumerate(columns):
        index, texts, codes = (f"nnexp_{part}_{number}" for part in ("index", "texts", "codes"))
        graph.initializer.append(helper.make_tensor(index, kinds.INT64, [1], [number]))
        nodes.append(helper.make_node("Gather", ["categories", index], [texts], axis=1))
        known = signature.vocabulary(column)
        mapping: dict[str, Any] = {
            "keys_strings": list(known),
            "values_int64s": list(known.values()),
        }
        mapping["default_int64"] = UNSEEN
        nodes.append(
            helper.make_node("LabelEncoder", [texts], [codes], domain="ai.onnx.ml", **mapping)
        )
        coded.append(codes)
    nodes.append(helper.make_node("Concat", coded, ["codes"], axis=1))
    new_input = helper.make_tensor_value_info("categories", kinds.STRING, [batch, len(columns)])
    rest = [value for i, value in enumerate(graph.input) if i != place]
    inputs = [*rest[:place], new_input, *rest[place:]]
    del graph.input[:]
    graph.input.extend(inputs)
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    if not any(one.domain == "ai.onnx.ml" for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _load_onnx(path: Path, signature: Signature) -> Compute:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def compute(table: Table) -> NDArray[Any]:
        (found,) = session.run(None, signature.arrays(table))
        outputs: NDArray[Any] = found
        return outputs

    return compute


def _onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401 -- checks what is written
        import onnxscript  # noqa: F401 -- torch.onnx needs it
    except ImportError as error:
        raise NnexpError(f"an .onnx file needs {error.name}: pip install 'nnexp[onnx]'") from None
    return onnx


Write = Callable[[ExportedNetwork, Signature, Path], None]
Load = Callable[[Path, Signature], Compute]
_WRITERS: dict[str, tuple[Write, Load]] = {
    ".onnx": (_write_onnx, _load_onnx),
    ".pt2": (_write_pt2, _load_pt2),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let torch's exporters warn nobody of their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
