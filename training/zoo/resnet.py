"""ResNet with 50 weight layers (He et al. 2015)."""

from __future__ import annotations

from typing import Any

#: Filters and number of the bottlenecks of each stage.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet50(outputs: int, side: int, channels: int) -> Any:
    """Bottlenecks whose 3 x 3 convolution takes the stride. Each residual branch begins at zero, which makes training start gently."""
    import keras
    from keras import layers

    def normed(inputs: Any, filters: int, kernel: int, stride: int = 1, *, last: bool = False) -> Any:
        options = {"use_bias": False, "padding": "same", "kernel_initializer": "he_normal"}
        convolution = layers.Conv2D(filters, kernel, strides=stride, **options)(inputs)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer="zeros" if last else "ones")(convolution)

    def relu(inputs: Any) -> Any:
        return layers.Activation("relu")(inputs)

    pixels = keras.Input((side, side, channels), name="pixels")
    features = layers.MaxPooling2D(3, 2, padding="same")(relu(normed(pixels, 64, 7, 2)))
    for stage, (filters, count) in enumerate(STAGES):
        for number in range(count):
            stride = 2 if stage and not number else 1
            branch = relu(normed(relu(normed(features, filters, 1)), filters, 3, stride))
            branch = normed(branch, 4 * filters, 1, last=True)
            shortcut = features if number else normed(features, 4 * filters, 1, stride)
            features = relu(layers.Add()([branch, shortcut]))
    logits = layers.Dense(outputs, dtype="float32", name="logits")(layers.GlobalAveragePooling2D()(features))
    return keras.Model(pixels, layers.Reshape((1, 1, outputs))(logits), name="resnet50")
