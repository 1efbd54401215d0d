"""The event file of a run, as TensorBoard's own reader and its own server see it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor, nn

from nnexp.config.compose import CONF, register, to_config
from nnexp.data import Dataset, load
from nnexp.models.layout import Structure
from nnexp.models.module import as_module
from nnexp.runs import event_records, files
from nnexp.runs.event_records import crc32c
from nnexp.runs.png import png
from nnexp.runs.record import RESULT_METRICS, DatasetSummary, RunResult
from nnexp.runs.tensorboard import Board, EventWriter, _graph, layer_graph

STARTED = 1_700_000_000.0
EPOCHS = [
    {
        "epoch": n,
        "step": 45 * n,
        "train/loss": 2 * 0.9**n,
        "train/acc": 1 - 0.5**n,
        "val/loss": None if n % 2 else 2.5 * 0.9**n,
        "val/acc": None if n % 2 else 1 - 0.6**n,
        "lr": 1e-3,
        "seconds": 0.25 * n,
    }
    for n in range(1, 11)
]
CURVES = ("train/loss", "train/acc", "val/loss", "val/acc", "lr")
METRICS = {
    "test/acc": 0.975,
    "test/loss": 0.08,
    "vs/knn/val_acc": 0.98,
    "vs/knn/test_acc": 0.9861,
}
HPARAMS: dict[str, dict[str, bool | int | float | str | None]] = {
    "adam": {"optimizer": "adam", "lr": 1e-3, "betas": "[0.9, 0.999]", "amsgrad": False, "seed": 0},
    "sgd": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "grad_clip": None, "seed": 0},
}
TRIALS = {"adam": "deep · adam · seed 0", "sgd": ""}


class Network(nn.Module):
    """Nested, with a layer that is passed twice, one that does nothing, and a way around."""

    def __init__(self) -> None:
        super().__init__()
        self.none = nn.Sequential()
        self.hidden = nn.ModuleList([nn.Linear(4, 8), nn.Sequential(nn.BatchNorm1d(8), nn.Tanh())])
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.none(x)
        for layer in self.hidden:
            h = self.dropout(layer(h))
        return self.output(h + h.relu())


def a_picture() -> NDArray[np.uint8]:
    return np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)


def a_graph() -> bytes:
    return bytes(layer_graph(Network(), torch.zeros(5, 4)).SerializeToString())


def write_run(folder: Path, arm: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(folder)
    writer.start(HPARAMS[arm], TRIALS[arm])
    writer.text("config", "```yaml\nlr: 0.001\n```")
    writer.graph(a_graph)
    writer.epochs(EPOCHS, STARTED)
    for n in (0, 1):
        writer.histogram("weights/output.weight", torch.linspace(-1, 1, 101) * (n + 1), step=45 * n)
    writer.image("test/confusion_matrix", a_picture, step=450)
    writer.end(METRICS, step=450, success=arm == "adam")
    writer.close()


def events(folder: Path) -> list[Event]:
    """All events of the one event file in ``folder``, their checksums verified."""
    (path,) = folder.glob("*tfevents*")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's own
        return list(LegacyEventFileLoader(str(path)).Load())


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


def expected(tag: str) -> list[tuple[int, float]]:
    points = [(epoch["step"], epoch[tag]) for epoch in EPOCHS]
    return [
        (step, float(np.float32(v))) for step, v in points if step is not None and v is not None
    ]


# The file


def test_there_is_one_file_whose_name_tensorboard_knows(tmp_path: Path) -> None:
    write_run(tmp_path, "adam")
    assert len(list(tmp_path.iterdir())) == 1
    assert events(tmp_path)[0].file_version == "brain.Event:2"


@pytest.mark.parametrize("at_once", [True, False])
def test_curves_are_those_of_the_record(tmp_path: Path, at_once: bool) -> None:
    writer = EventWriter(tmp_path)
    for epochs in [EPOCHS] if at_once else [[epoch] for epoch in EPOCHS]:
        writer.epochs(epochs, STARTED)
    writer.close()
    assert scalars(tmp_path) == {tag: expected(tag) for tag in CURVES}
    times = [event.wall_time for event in events(tmp_path)[1:]]
    assert times == [STARTED + 0.25 * n for n in range(1, 11)]


def test_what_is_not_finite_has_no_point(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.scalars({"nan": math.nan, "inf": math.inf, "none": None, "one": 1.0}, step=3)
    writer.close()
    assert scalars(tmp_path) == {"one": [(3, 1.0)]}


def test_histogram_counts_each_finite_value_once(tmp_path: Path) -> None:
    values = torch.cat([torch.linspace(-2, 3, 1001), torch.tensor([math.nan, math.inf])])
    writer = EventWriter(tmp_path)
    writer.histogram("weights", values.view(17, 59), step=1)
    writer.close()
    (value,) = events(tmp_path)[1].summary.value
    bins = np.frombuffer(value.tensor.tensor_content).reshape(-1, 3)
    counts, edges = np.histogram(values[:-2].numpy().astype(np.float64), bins=len(bins))
    np.testing.assert_array_equal(bins[:, 2], counts)
    np.testing.assert_allclose(bins[:, 0], edges[:-1])
    np.testing.assert_allclose(bins[:, 1], edges[1:])
    assert bins[:, 2].sum() == 1001


def test_what_was_reported_survives_a_kill(tmp_path: Path) -> None:
    endless = """
import sys
from pathlib import Path
from nnexp.runs.tensorboard import EventWriter
writer = EventWriter(Path(sys.argv[1]))
for n in range(1, 10**9):
    writer.scalars({"n": n}, step=n)
    writer.flush()
    print(n, flush=True)
"""
    command = [sys.executable, "-c", endless, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(1000)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout
    reported = max(int(line) for line in lines if line.endswith("\n"))
    steps = [step for step, _ in scalars(tmp_path)["n"]]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= reported


# The bytes


@pytest.mark.parametrize("step", [0, 1, 127, 128, 16_384, 2**40 + 5, 2**63 - 1])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param({tag: 0.1 * n for n, tag in enumerate(CURVES)}, id="curves"),
        pytest.param(
            {"zero": 0.0, "minus zero": -0.0, "tiny": 1e-50, "huge": 1e300}, id="extremes"
        ),
        pytest.param({"größe/" + "x" * 300: -1 / 3, "": 1, "true": True}, id="tags"),
        pytest.param({f"tag {n}": n / 7 for n in range(200)}, id="many"),
        pytest.param({"none": None, "nan": math.nan}, id="nothing"),
    ],
)
def test_scalars_are_the_bytes_of_the_message(values: dict[str, float | None], step: int) -> None:
    kept = {tag: v for tag, v in values.items() if v is not None and math.isfinite(v)}
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in kept.items()])
    message = Event(wall_time=STARTED, step=step, summary=summary)
    assert event_records.scalars(values, step, STARTED) == message.SerializeToString()


def test_checksums_are_those_of_the_standard() -> None:
    known = {  # RFC 3720, appendix B.4, and the check value of the catalogue of CRCs
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        bytes(reversed(range(32))): 0x113FDB5C,
        b"123456789": 0xE3069283,
        b"": 0,
    }
    assert crc32c(list(known)) == list(known.values())
    assert crc32c([]) == []


def test_records_are_those_of_tensorboard() -> None:
    lengths = [*range(1, 20), *range(250, 262), 511, 512, 513, 5000, 0, 100_001]
    random = np.random.default_rng(0)
    entries = [random.bytes(length) for length in lengths]
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for entry in entries:
        writer.write(entry)
    assert event_records.records(entries) == buffer.getvalue()
    assert event_records.records([]) == b""


@pytest.mark.parametrize("shape", [(1, 1), (40, 30), (3, 700)])
def test_pictures_are_read_back_pixel_by_pixel(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for array in (picture, picture[::-1, ::-1]):  # the second is not contiguous
        with Image.open(io.BytesIO(png(array))) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), array)


# Trouble


def test_a_full_disk_only_delays_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = EventWriter(tmp_path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # bytes: in the middle of an event
    try:
        for epoch in EPOCHS:
            writer.epochs([epoch], STARTED)
            writer.flush()
            assert 0 < len(events(tmp_path)) < 10
        writer.image("picture", a_picture, step=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    writer.close()
    assert scalars(tmp_path) == {tag: expected(tag) for tag in CURVES}
    assert len(events(tmp_path)) == 12
    assert len(caplog.messages) == 1
    assert "the run goes on and tries again" in caplog.messages[0]


def test_a_folder_that_is_gone_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HELD_BACK_LIMIT", 10_000)
    (tmp_path / "gone").mkdir()
    writer = EventWriter(tmp_path / "gone")
    (path,) = (tmp_path / "gone").iterdir()
    header = path.stat().st_size
    writer.epochs(EPOCHS, STARTED)
    writer.flush()
    size = path.stat().st_size - header
    path.unlink()
    (tmp_path / "gone").rmdir()
    for _ in range(100):
        writer.epochs(EPOCHS, STARTED)
        writer.flush()
    writer.close()
    assert [re.sub(r".*gone/\S+ ", "", text) for text in caplog.messages] == [
        "cannot be written (No such file or directory); the run goes on and tries again",
        f"lacks {100 * size} bytes that could not be written",
    ]


def test_what_cannot_be_shown_is_told_once_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def no_picture() -> NDArray[np.uint8]:
        raise RuntimeError("no font\nat all")

    class Untraceable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    def no_graph() -> bytes:
        return bytes(layer_graph(Untraceable(), torch.zeros(1, 2)).SerializeToString())

    writer = EventWriter(tmp_path)
    for step in (1, 2):
        writer.image("picture", no_picture, step)
        writer.graph(no_graph)
        writer.histogram("nothing", torch.full((3,), math.nan), step)
        writer.start({"lr": object()})  # type: ignore[dict-item]
        writer.epochs([{"epoch": 1}], STARTED)
        writer.scalars({"still": 1.0}, step)
    writer.close()
    assert scalars(tmp_path) == {"still": [(1, 1.0), (2, 1.0)]}
    told = [re.match(r"TensorBoard goes without (\w+): .+", text) for text in caplog.messages]
    assert [match and match[1] for match in told] == ["picture", "graph", "hparams", "curves"]
    assert caplog.messages[0] == "TensorBoard goes without picture: no font"


# The graph


def test_graph_shows_the_layers_and_the_shapes_between_them() -> None:
    nodes = layer_graph(Network(), torch.zeros(5, 4)).node
    assert [(node.name, node.op, list(node.input)) for node in nodes] == [
        ("x", "Input", []),
        ("hidden/Linear[0]", "Linear", ["x"]),
        ("dropout", "Dropout", ["hidden/Linear[0]"]),
        ("hidden/Sequential[1]/BatchNorm1d[0]", "BatchNorm1d", ["dropout"]),
        ("hidden/Sequential[1]/Tanh[1]", "Tanh", ["hidden/Sequential[1]/BatchNorm1d[0]"]),
        ("dropout_1", "Dropout", ["hidden/Sequential[1]/Tanh[1]"]),
        ("relu", "relu", ["dropout_1"]),
        ("add", "add", ["dropout_1", "relu"]),
        ("output", "Linear", ["add"]),
        ("y", "Output", ["output"]),
    ]
    shapes = [[dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim] for node in nodes]
    assert shapes == [[5, 4]] + [[5, 8]] * 7 + [[5, 3]] * 2
    assert nodes[1].attr["layer"].s == b"in_features=4, out_features=8, bias=True"


def test_graph_leaves_the_network_and_the_random_numbers_alone() -> None:
    network = Network()
    network.hidden.eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    layer_graph(network, torch.ones(5, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_runs_of_one_structure_share_one_tracing() -> None:
    first, again, other = (_graph(Structure(4, (width,), 3)) for width in (8, 8, 9))
    assert again is first
    assert other != first
    example = torch.zeros(1, 4)
    assert GraphDef.FromString(first) == layer_graph(as_module(Structure(4, (8,), 3)), example)


# The board


@pytest.fixture
def iris() -> tuple[str, dict[str, Any], Dataset]:
    """What a board is made of."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", ["dataset=iris", "debug=fast"]))
    return "deep · sgd", dataclasses.asdict(config), load(config.dataset)


def test_what_is_known_of_a_run_is_on_disk_before_its_first_epoch(
    tmp_path: Path, iris: tuple[str, dict[str, Any], Dataset]
) -> None:
    Board(tmp_path, *iris, Structure(4, (8,), 3))
    version, hparams, config, graph = events(tmp_path)
    assert version.file_version
    assert hparams.summary.value[0].tag == "_hparams_/session_start_info"
    assert config.summary.value[0].tag == "config"
    assert graph.graph_def


def test_a_boards_epochs_are_on_disk_when_it_is_flushed(
    tmp_path: Path, iris: tuple[str, dict[str, Any], Dataset]
) -> None:
    board = Board(tmp_path, *iris, Structure(4, (8,), 3))
    for epoch in EPOCHS:
        board.epoch(epoch)
    board.flush()
    assert scalars(tmp_path) == {tag: expected(tag) for tag in CURVES}


@pytest.mark.parametrize("asked", [False, True])
def test_the_table_of_hyperparameters_shows_test_metrics_where_asked(
    tmp_path: Path, iris: tuple[str, dict[str, Any], Dataset], asked: bool
) -> None:
    """TensorBoard shows the first five tags until one chooses others."""
    board = Board(tmp_path, *iris, Structure(4, (8,), 3))
    board.epoch(EPOCHS[1])
    result = RunResult(status="completed", seed=0, arm="", model="deep", optimizer="sgd",
                       dataset=DatasetSummary(name="iris"))  # fmt: skip
    baseline = {"val/acc": 0.5, "test/acc": 0.5}
    board.end(
        dataclasses.replace(
            result,
            metrics=dict.fromkeys(RESULT_METRICS, 0.25),
            baselines=dict.fromkeys(("boosting", "knn", "svm"), baseline),
            config={"report": {"test_metrics": asked}} if asked else {},
        )
    )
    board.close()
    tags = sorted(scalars(tmp_path))
    tested = {"vs/knn/test_acc", "test/acc", "test/brier", "test/loss", "test/clipped_loss"}
    assert {"vs/knn/val_acc", "best/val_acc"} <= set(tags)
    if asked:
        assert "test/acc" in tags[:5]
        assert tested <= set(tags)
    else:
        assert not any("test" in tag for tag in tags)
    (written,) = [v for e in events(tmp_path) for v in e.summary.value if v.tag == "test"]
    told = written.tensor.string_val[0].decode()
    assert "| network | 0.2500 | 0.2500 | 0.2500 | 0.2500 |" in told
    assert "| knn |" in told


def trial_of(folder: Path) -> str:
    content = events(folder)[1].summary.value[0].metadata.plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    return str(start.group_name)


def test_runs_that_differ_have_different_names(
    tmp_path: Path, iris: tuple[str, dict[str, Any], Dataset]
) -> None:
    """TensorBoard takes runs of one name for one, and would show the mean of the two."""
    arm, config, dataset = iris
    structure = Structure(4, (8,), 3)
    other_config = {**config, "trainer": {**config["trainer"], "batch_size": 7}}
    other_dataset = dataclasses.replace(dataset, fingerprint="0" * 64)
    boards = [(config, dataset), (config, dataset), (other_config, dataset),
              (config, other_dataset)]  # fmt: skip
    names = []
    for number, (options, data) in enumerate(boards):
        folder = tmp_path / str(number)
        folder.mkdir()
        Board(folder, arm, options, data, structure).close()
        names.append(trial_of(folder))
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(name.startswith("deep · sgd · iris · seed 0 · ") for name in names)


# The server


class Server:
    """TensorBoard's own server on a folder, asked over HTTP."""

    def __init__(self, logdir: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
        command += ["--host", "127.0.0.1", "--port", "0", *options]
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self._log = log
        self.url = self._wait_for(
            lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))
        )[0]
        self._wait_for(lambda: self.get("histograms/tags").keys() >= {"adam", "sgd"})

    def _wait_for(self, ready: Any) -> Any:
        deadline = time.monotonic() + 60
        while not (answer := ready()):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)
        return answer

    def raw(self, plugin: str, **query: str | int) -> bytes:
        url = f"{self.url}/data/plugin/{plugin}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bytes(answer.read())

    def get(self, plugin: str, **query: str | int) -> Any:
        return json.loads(self.raw(plugin, **query))


@pytest.fixture(scope="module", params=["--load_fast=auto", "--load_fast=false"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server over a sweep of two arms, with the fast reader and with the one in Python."""
    logdir = tmp_path_factory.mktemp("multirun")
    for arm in HPARAMS:
        write_run(logdir / arm, arm)
    server = Server(logdir, tmp_path_factory.mktemp("log") / "log", request.param)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=30)


def test_server_serves_scalars(server: Server) -> None:
    tags = server.get("scalars/tags")
    assert tags.keys() == {"adam", "sgd"}
    assert tags["adam"].keys() == {*CURVES, *METRICS}
    for tag in CURVES:
        points = server.get("scalars/scalars", run="adam", tag=tag)
        assert [(step, value) for _, step, value in points] == expected(tag)
    ((_, step, value),) = server.get("scalars/scalars", run="sgd", tag="vs/knn/test_acc")
    assert (step, value) == (450, pytest.approx(0.9861))


def test_server_shows_each_arm_with_its_own_hyperparameters_and_metrics(server: Server) -> None:
    experiment = server.get("hparams/experiment", request="{}")
    columns = {info["name"]: info["type"] for info in experiment["hparamInfos"]}
    assert columns == {
        "optimizer": "DATA_TYPE_STRING",
        "lr": "DATA_TYPE_FLOAT64",
        "betas": "DATA_TYPE_STRING",
        "amsgrad": "DATA_TYPE_BOOL",
        "momentum": "DATA_TYPE_FLOAT64",
        "seed": "DATA_TYPE_FLOAT64",
    }
    statuses = [f"STATUS_{name}" for name in ("UNKNOWN", "RUNNING", "SUCCESS", "FAILURE")]
    question = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 10}
    groups = server.get("hparams/session_groups", request=json.dumps(question))["sessionGroups"]
    assert {group["name"] for group in groups} == {"deep · adam · seed 0", "sgd"}
    for group in groups:
        arm = group["hparams"]["optimizer"]
        assert group["hparams"] == {k: v for k, v in HPARAMS[arm].items() if v is not None}
        metrics = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        last = {tag: expected(tag)[-1][1] for tag in CURVES}
        assert metrics == pytest.approx({**last, **METRICS})
        (session,) = group["sessions"]
        assert session["name"] == arm
        assert session["status"] == ("STATUS_SUCCESS" if arm == "adam" else "STATUS_FAILURE")


def test_server_serves_the_picture(server: Server) -> None:
    tag = "test/confusion_matrix"
    (image,) = server.get("images/images", run="adam", tag=tag, sample=0)
    assert image["step"] == 450
    query = dict(urllib.parse.parse_qsl(image["query"]))
    with Image.open(io.BytesIO(server.raw("images/individualImage", **query))) as png:
        np.testing.assert_array_equal(np.asarray(png), a_picture())


def test_server_serves_the_config_as_text(server: Server) -> None:
    assert server.get("text/tags") == {"adam": ["config"], "sgd": ["config"]}
    (text,) = server.get("text/text", run="adam", tag="config", markdown="true")
    assert re.fullmatch(r"<pre><code[^>]*>lr: 0\.001\n</code></pre>", text["text"])


def test_server_serves_the_graph(server: Server) -> None:
    assert server.get("graphs/info")["adam"]["run_graph"]
    graph = server.raw("graphs/graph", run="adam").decode()
    names = re.findall(r'^  name: "(.*)"', graph, re.MULTILINE)
    assert names == [node.name for node in layer_graph(Network(), torch.zeros(5, 4)).node]


def test_server_serves_histograms(server: Server) -> None:
    histograms = server.get("histograms/histograms", run="adam", tag="weights/output.weight")
    assert [step for _, step, _ in histograms] == [0, 45]
    for n, (_, _, bins) in enumerate(histograms, start=1):
        assert bins[0][0] == pytest.approx(-n)
        assert bins[-1][1] == pytest.approx(n)
        assert sum(count for _, _, count in bins) == 101
