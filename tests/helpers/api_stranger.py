"""The Python API as somebody uses it who has read the README alone.

Checked by ``mypy --strict`` and run by ``tests/api/test_api.py``, in an empty folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import nnexp


def one_run() -> nnexp.Run:
    run = nnexp.run("+experiment=shallow_sgd", dataset="iris", seed=1, trainer__epochs=4)
    accuracy: float | None = run.metrics["test/acc"]
    assert accuracy is not None
    assert 0 <= accuracy <= 1
    assert [record["epoch"] for record in run.history] == [1, 2, 3, 4]
    assert run.config["trainer"]["epochs"] == 4
    assert 0 <= run.baselines["knn"]["test/acc"] <= 1
    path: Path = run.folder
    assert (path / "result.json").is_file()
    weights = sum(parameter.numel() for parameter in run.network.parameters())
    print(run, weights)
    return run


def own_arrays() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 3))
    labels = np.where(features[:, 0] > 0, "up", "down")
    run = nnexp.run(data=(features, labels), model={"hidden": [16]}, trainer__epochs=20)
    assert set(run.predict(features[:10])) <= {"up", "down"}
    assert run.predict_proba(features[:10]).shape == (10, 2)
    assert run.classes.tolist() == ["down", "up"]


def one_sweep() -> None:
    sweep = nnexp.sweep(
        dataset="iris",
        optimizer=["sgd", "adam"],
        seed=range(2),
        model__hidden=[[8]],
        trainer__epochs=2,
    )
    assert len(sweep.runs) == 4
    assert not sweep.failures
    best: nnexp.Run = sweep.best("val/acc")
    report: nnexp.Report = sweep.report()
    assert report.path.name == "index.html"
    assert report.summary["schema"]
    loaded = nnexp.load(sweep.folder)
    assert isinstance(loaded, nnexp.Sweep)
    assert loaded.best("val/acc").folder == best.folder


def scikit_learn() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(150, 4))
    labels = (features[:, :2].sum(axis=1) > 0).astype(int)
    classifier = nnexp.Classifier(hidden=(16,), epochs=30, lr=0.01).fit(features, labels)
    assert classifier.score(features, labels) > 0.9
    assert len(classifier.history_) == classifier.n_iter_ == 30


def mistakes() -> None:
    said = []
    for name in ("sdg", "adma"):
        try:
            nnexp.run(optimizer=name)
        except nnexp.NnexpError as error:
            said.append(str(error))
    assert "did you mean 'sgd'?" in said[0]
    assert "did you mean 'adam'?" in said[1]


if __name__ == "__main__":
    run = one_run()
    loaded = nnexp.load(run.folder)
    assert isinstance(loaded, nnexp.Run)
    assert loaded.metrics == run.metrics
    own_arrays()
    one_sweep()
    scikit_learn()
    mistakes()
