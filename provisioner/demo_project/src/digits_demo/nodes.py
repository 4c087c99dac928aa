"""The steps of the pipeline; none knows of MLflow."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score
from sklearn.model_selection import train_test_split


def split() -> tuple[Any, ...]:
    """Pixels and digits to learn from and to test on; pixels from 0 to 1."""
    pixels, digits = load_digits(return_X_y=True)
    return tuple(train_test_split(pixels / 16, digits, test_size=0.25, random_state=0))


def train(
    pixels: Any, test_pixels: Any, digits: Any, test_digits: Any, alpha: float, epochs: int
) -> tuple[Any, list[float], float]:
    """Return the model, its accuracy on the test data after each epoch, and the last of these."""
    model = SGDClassifier(loss="log_loss", alpha=alpha, random_state=0)
    history = []
    for _ in range(epochs):
        model.partial_fit(pixels, digits, classes=range(10))
        history.append(float(accuracy_score(test_digits, model.predict(test_pixels))))
    return model, history, history[-1]


def draw(model: Any, test_pixels: Any, test_digits: Any) -> Figure:
    """Which digits are taken for which."""
    figure = Figure(figsize=(6, 6))
    axes = figure.add_subplot()
    ConfusionMatrixDisplay.from_estimator(model, test_pixels, test_digits, ax=axes, colorbar=False)
    axes.set_title("digits: which is taken for which")
    return figure
