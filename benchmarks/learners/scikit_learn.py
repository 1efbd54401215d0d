"""scikit-learn's MLPClassifier, one run after the other."""

from __future__ import annotations

import warnings

from learners.work import LEARNING_RATE, Task


def scikit_learn_runs(task: Task) -> list[float]:
    """A run a seed. Its initial weights are Glorot's, and nothing changes that."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    work, data = task.work, task.data
    x, y = data.x[: data.num_train], data.y[: data.num_train]
    losses = []
    with threadpool_limits(task.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        for seed in task.seeds:
            model = MLPClassifier(
                work.widths[1:-1],
                batch_size=work.batch_size,
                learning_rate_init=LEARNING_RATE,
                max_iter=work.epochs,
                n_iter_no_change=work.epochs,
                alpha=0.0,
                random_state=seed,
            )
            losses.append(float(model.fit(x, y).loss_))
    return losses
