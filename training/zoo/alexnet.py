"""AlexNet (Krizhevsky et al. 2012) in one tower, as MXNet's examples have it."""

from __future__ import annotations

from typing import Any

from training.zoo.layers import convolved, fully_connected_end


def alexnet(outputs: int, side: int, channels: int) -> Any:
    """Eight weight layers. Its first layer is padded by two px, so that 224 px give the 6 x 6 map that 227 px gave its authors.

    Local response normalisation is left out: chops come normalised, and the authors of VggNet found it of no use.
    """
    import keras
    from keras import layers

    pixels = keras.Input((side, side, channels), name="pixels")
    features = convolved(layers.ZeroPadding2D(2)(pixels), 96, 11, strides=4, padding="valid")
    features = convolved(layers.MaxPooling2D(3, 2)(features), 256, 5)
    features = convolved(layers.MaxPooling2D(3, 2)(features), 384, 3)
    features = convolved(convolved(features, 384, 3), 256, 3)
    return keras.Model(pixels, fully_connected_end(layers.MaxPooling2D(3, 2)(features), outputs), name="alexnet")
