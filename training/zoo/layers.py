"""Layers that the networks share. Keras is imported inside: the rest of the project runs without it."""

from __future__ import annotations

from typing import Any


def convolved(inputs: Any, filters: int, kernel: int, **options: Any) -> Any:
    """Convolution and ReLU; padded to the same size unless told otherwise."""
    from keras import layers

    return layers.Conv2D(filters, kernel, activation="relu", kernel_initializer="he_normal", **{"padding": "same", **options})(inputs)


def fully_connected_end(features: Any, outputs: int) -> Any:
    """Two layers of 4096 with dropout and the last one, whose logits get the form of a class map: (N, 1, 1, outputs)."""
    from keras import layers

    features = layers.Flatten()(features)
    for _ in range(2):
        features = layers.Dropout(0.5)(layers.Dense(4096, activation="relu", kernel_initializer="he_normal")(features))
    return layers.Reshape((1, 1, outputs))(layers.Dense(outputs, dtype="float32", name="logits")(features))
