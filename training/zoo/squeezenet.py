"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016), padded as published. ``training/networks.py`` has the padding-free one that ships."""

from __future__ import annotations

from typing import Any

from training.zoo.layers import convolved

#: Squeeze filters and expand filters (of each branch) of the fire modules; ``None`` is a 3 x 3 maximum pool of stride 2.
FIRES_1_0 = (None, (16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256))
FIRES_1_1 = (None, (16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet_1_0(outputs: int, side: int, channels: int) -> Any:
    """The first version: a 7 x 7 convolution of 96 filters, pools late."""
    return _squeezenet("squeezenet_1_0", (96, 7), FIRES_1_0, outputs, side, channels)


def squeezenet_1_1(outputs: int, side: int, channels: int) -> Any:
    """The second: a 3 x 3 convolution of 64 filters, pools early; 2.4 times less work."""
    return _squeezenet("squeezenet_1_1", (64, 3), FIRES_1_1, outputs, side, channels)


def _squeezenet(
    name: str, first: tuple[int, int], fires: tuple[tuple[int, int] | None, ...], outputs: int, side: int, channels: int
) -> Any:
    """The last convolution's map is averaged without the ReLU that its authors put there: a logit may be negative."""
    import keras
    from keras import layers

    pixels = keras.Input((side, side, channels), name="pixels")
    features = convolved(pixels, *first, strides=2, padding="valid")
    for fire in fires:
        if fire is None:
            features = layers.MaxPooling2D(3, 2)(features)
        else:
            squeezed = convolved(features, fire[0], 1)
            features = layers.Concatenate()([convolved(squeezed, fire[1], 1), convolved(squeezed, fire[1], 3)])
    class_map = layers.Conv2D(outputs, 1, name="class_map", dtype="float32")(layers.Dropout(0.5)(features))
    return keras.Model(pixels, layers.GlobalAveragePooling2D(keepdims=True, dtype="float32")(class_map), name=name)
