"""What a person reads for the name of a baseline."""

from __future__ import annotations

LABELS = {
    "knn": "KNN",
    "svm": "SVM (RBF)",
    "logistic_regression": "logistic regression",
    "forest": "random forest",
    "boosting": "gradient boosting",
    "majority": "majority class",
}
"""By the name in a config, in the order in which a report tells them."""
