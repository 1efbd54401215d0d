"""Exact nearest neighbours: nnexp beside its peers, in one process.

    python benchmarks/knn.py [--root FOLDER] [-k 5] [--rounds 3] [--device cpu|cuda]

``--root`` names a folder with the four IDX files of MNIST or Fashion-MNIST (raw pixels); without
it, rows are drawn from a normal distribution, or are random pixels with ``--pixels``. The peers are

- GEMM: the matrix product of queries and training rows alone, in float32, which all peers need;
- torch: squared distances by a matrix product, then topk, 256 queries at a time;
- on the CPU, scikit-learn: NearestNeighbors(algorithm="brute");
- FAISS: IndexFlatL2, and on CUDA cuML's brute force, where they are installed.

nnexp is given pixels as bytes, as its baseline is, and as floats. All take turns for the given
number of rounds, after one that warms up, with as many threads. The table quotes the median time,
its ratio to that of the GEMM, and for how many queries the indices are those of exact arithmetic
with ties to the lowest row, which is what nnexp returns.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import checkout  # noqa: F401
from nnexp.baselines.neighbors import nearest
from nnexp.baselines.neighbors.metrics import METRICS
from nnexp.baselines.neighbors.scans import blocks
from nnexp.data.sources.images import parse_idx
from nnexp.device import resolve_device, threads
from nnexp.environment import allow_any_text, available_cores

Learner = Callable[[Tensor, Tensor, int], Tensor | None]


def idx_images(path: Path) -> Tensor:
    """Raw pixels [N, D] of a compressed IDX file."""
    images = parse_idx(gzip.decompress(path.read_bytes()), path.name)
    return torch.tensor(images).flatten(1).float()


def gemm(train: Tensor, queries: Tensor, k: int) -> None:
    """Tiles that suit caches on the CPU, else 256 MiB at a time."""
    size, step = (512, 2048) if train.device.type == "cpu" else (2**26 // len(train), len(train))
    out = torch.empty(size, len(train), device=train.device)
    for part in blocks(len(queries), size):
        for rows in blocks(len(train), step):
            tile = out[: part.stop - part.start, rows]
            torch.mm(queries[part], train[rows].T, out=tile)


def torch_topk(train: Tensor, queries: Tensor, k: int) -> Tensor:
    """The lines that everybody writes."""
    norms = train.square().sum(1)
    return torch.cat(
        [
            torch.addmm(norms, queries[part], train.T, alpha=-2).topk(k, largest=False).indices
            for part in blocks(len(queries), 256)
        ]
    )


def scikit_learn(train: Tensor, queries: Tensor, k: int, metric: str) -> Tensor:
    """Brute force in scikit-learn."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=metric)
    indices = model.fit(train.numpy()).kneighbors(queries.numpy(), return_distance=False)
    return torch.from_numpy(indices)


def faiss_flat(train: Tensor, queries: Tensor, k: int) -> Tensor:
    """Brute force in FAISS; on CUDA the numbers come from the CPU and go back there."""
    faiss = importlib.import_module("faiss")
    index = faiss.IndexFlatL2(train.shape[1])
    if train.is_cuda:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), train.device.index or 0, index)
    index.add(train.cpu().numpy())
    return torch.from_numpy(index.search(queries.cpu().numpy(), k)[1])


def cuml_brute(train: Tensor, queries: Tensor, k: int) -> Tensor:
    """Brute force in cuML, on tensors where they are."""
    model = importlib.import_module("cuml.neighbors").NearestNeighbors(
        n_neighbors=k, algorithm="brute", output_type="cupy"
    )
    found = model.fit(train).kneighbors(queries, return_distance=False)
    return torch.as_tensor(found, device=train.device)


def nnexp(train: Tensor, queries: Tensor, k: int, metric: str, memory_bytes: int) -> Tensor:
    """Exact, whatever the data."""
    return nearest(train, queries, k, metric=metric, memory_bytes=memory_bytes)[1]


def learners(metric: str, device: torch.device, memory_bytes: int) -> dict[str, Learner]:
    """By name, those that can do this on this device and are installed."""
    found: dict[str, Learner] = {
        "nnexp": functools.partial(nnexp, metric=metric, memory_bytes=memory_bytes),
        "GEMM": gemm,
    }
    if device.type == "cpu":
        found["scikit-learn"] = functools.partial(scikit_learn, metric=metric)
    if metric != "euclidean":
        return found
    found["torch"] = torch_topk
    if _has("faiss", "StandardGpuResources" if device.type == "cuda" else "IndexFlatL2"):
        found["FAISS"] = faiss_flat
    if device.type == "cuda" and _has("cuml.neighbors", "NearestNeighbors"):
        found["cuML"] = cuml_brute
    return found


def _has(module: str, name: str) -> bool:
    try:
        peer = importlib.import_module(module)
    except ImportError:
        print(f"{module} is not installed")
        return False
    if module == "faiss":
        peer.omp_set_num_threads(torch.get_num_threads())
    return hasattr(peer, name)


def timed(find: Callable[[], Tensor | None], device: torch.device) -> tuple[float, Tensor | None]:
    """Seconds, the device waited for, and the indices [Q, k] found."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    indices = find()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, indices


def measure(
    train: Tensor, queries: Tensor, k: int, peers: dict[str, Learner], rounds: int
) -> dict[str, tuple[float, Tensor | None]]:
    """By name the median seconds, and the indices [Q, k]; all take turns.

    nnexp is also given whole numbers from 0 to 255 as bytes.
    """
    finders = {name: functools.partial(one, train, queries, k) for name, one in peers.items()}
    as_bytes = train.byte(), queries.byte()
    if all(map(torch.equal, (train, queries), (table.float() for table in as_bytes))):
        finders["nnexp, bytes"] = functools.partial(peers["nnexp"], *as_bytes, k)
    seconds: dict[str, list[float]] = {name: [] for name in finders}
    indices: dict[str, Tensor | None] = {}
    for turn in range(rounds + 1):
        for name, find in finders.items():
            took, indices[name] = timed(find, train.device)
            if turn:
                seconds[name].append(took)
    return {name: (statistics.median(times), indices[name]) for name, times in seconds.items()}


def main() -> None:
    """Measure all and print a table in Markdown."""
    allow_any_text()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of the IDX files; none: random rows")
    parser.add_argument("--rows", type=int, default=60_000, help="training rows, at most")
    parser.add_argument("--queries", type=int, default=10_000, help="queries, at most")
    parser.add_argument("--features", type=int, default=784, help="of random rows")
    parser.add_argument("--pixels", action="store_true", help="random rows from 0 to 255")
    parser.add_argument("--metric", choices=METRICS, default="euclidean")
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--memory-mb", type=int, default=512, help="nnexp's bound, MiB")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each that count")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of the CPU")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    if arguments.root:
        train = idx_images(arguments.root / "train-images-idx3-ubyte.gz")[: arguments.rows]
        queries = idx_images(arguments.root / "t10k-images-idx3-ubyte.gz")[: arguments.queries]
    else:
        stream = torch.Generator().manual_seed(0)
        train = torch.randn(arguments.rows, arguments.features, generator=stream)
        queries = torch.randn(arguments.queries, arguments.features, generator=stream)
        if arguments.pixels:
            train, queries = ((64 * part + 128).round().clamp(0, 255) for part in (train, queries))
    train, queries = train.to(device), queries.to(device)
    with threads(arguments.threads):
        print(
            f"torch {torch.__version__}, {device}, {arguments.threads} threads: {len(queries)} "
            f"queries, {len(train)} x {train.shape[1]}, k={arguments.k}, {arguments.metric}"
        )
        peers = learners(arguments.metric, device, arguments.memory_mb * 2**20)
        found = measure(train, queries, arguments.k, peers, arguments.rounds)
    print("| | ms | / GEMM | exact for |")
    print("|---|---|---|---|")
    proved = found["nnexp"][1]
    assert proved is not None
    for name, (seconds, indices) in sorted(found.items(), key=lambda item: item[1][0]):
        same = "" if indices is None else f"{int((indices == proved).all(1).sum())} queries"
        print(f"| {name} | {1e3 * seconds:.1f} | {seconds / found['GEMM'][0]:.2f} | {same} |")


if __name__ == "__main__":
    main()
