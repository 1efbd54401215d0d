"""What a person reads for the name of a baseline."""

from __future__ import annotations

LABELS = {
    "knn": "KNN",
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "svm": "SVM (RBF)",
    "forest": "random forest",
    "boosting": "gradient boosting",
}
