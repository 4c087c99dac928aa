"""The project's one pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node, pipeline

from digits_demo.nodes import draw, split, train


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name."""
    steps = pipeline(
        [
            node(split, None, ["pixels", "test_pixels", "digits", "test_digits"]),
            node(
                train,
                ["pixels", "test_pixels", "digits", "test_digits", "params:alpha", "params:epochs"],
                ["model", "accuracy_history", "final_accuracy"],
            ),
            node(draw, ["model", "test_pixels", "test_digits"], "confusion_matrix"),
        ]
    )
    return {"__default__": steps}
