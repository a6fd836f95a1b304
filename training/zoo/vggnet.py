"""VggNet with 16 weight layers (Simonyan & Zisserman 2014, configuration D)."""

from __future__ import annotations

from typing import Any

from training.zoo.layers import convolved, fully_connected_end

#: Filters and number of 3 x 3 convolutions of each block; a pool follows.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vggnet16(outputs: int, side: int, channels: int) -> Any:
    """Thirteen convolutions and three fully connected layers."""
    import keras
    from keras import layers

    features = pixels = keras.Input((side, side, channels), name="pixels")
    for filters, count in BLOCKS:
        for _ in range(count):
            features = convolved(features, filters, 3)
        features = layers.MaxPooling2D(2)(features)
    return keras.Model(pixels, fully_connected_end(features, outputs), name="vggnet16")
