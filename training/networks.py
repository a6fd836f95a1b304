"""The two networks in Keras: a small U-Net that finds the drop (P7) and a padding-free SqueezeNet for chops (P12).

Keras is imported inside the functions: the rest of the project runs without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystal_search.classes import NAMES

if TYPE_CHECKING:
    import keras

#: Squeeze and expand filters of fire modules; ``None`` is a 3 x 3 maximum pool of stride 2.
Fires = tuple[tuple[int, int] | None, ...]
#: Those of the network that ships. The early ones, whose maps are large, are narrower than those of SqueezeNet 1.1.
FIRES: Fires = (None, (12, 32), (16, 48), None, (24, 96), (32, 128), None, (64, 256), (64, 256))
#: The same with one pool less: a smaller field and a finer class map; narrower where the map is now larger.
FINE_FIRES: Fires = (None, (12, 32), (16, 48), None, (24, 96), (32, 128), (40, 128), (48, 160))
#: Filters of the first convolution, 3 x 3 with stride 2.
FIRST_FILTERS = 32
#: Output channels of the drop network.
DROP_CHANNELS = ("drop", "well")


def field_and_stride(fires: Fires = FIRES) -> tuple[int, int]:
    """Receptive field and stride of a chop network's class map in px, from its layers: (143, 16).

    A kernel k on a map of stride j widens the field by (k - 1) j; only the first convolution and the pools have stride 2.
    """
    field, stride = 3, 2
    for fire in fires:
        field += 2 * stride
        if fire is None:
            stride *= 2
    return field, stride


RECEPTIVE_FIELD, STRIDE = field_and_stride()


def _normed(inputs: Any, filters: int, kernel: int, **options: Any) -> Any:
    """Convolution, batch normalisation (folds into the convolution when exported), ReLU."""
    from keras import layers

    convolved = layers.Conv2D(filters, kernel, use_bias=False, kernel_initializer="he_normal", **options)(inputs)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(convolved))


def _plain(inputs: Any, filters: int, kernel: int, padding: str, **options: Any) -> Any:
    """Convolution and ReLU."""
    from keras import layers

    return layers.Conv2D(filters, kernel, activation="relu", kernel_initializer="he_normal", padding=padding, **options)(inputs)


def _fire(inputs: Any, squeeze: int, expand: int, padding: str) -> Any:
    """A fire module. Without padding the map shrinks by one px a side, so the 1 x 1 branch is cropped to match.

    Only the squeeze layer, an eighth of the channels, is batch-normalised: normalising all halves the speed of training on a CPU.
    """
    from keras import layers

    squeezed = _normed(inputs, squeeze, 1)
    narrow = layers.Cropping2D(1)(squeezed) if padding == "valid" else squeezed
    return layers.Concatenate()([_plain(narrow, expand, 1, padding), _plain(squeezed, expand, 3, padding)])


def chop_squeezenet(
    classes: int = len(NAMES), dropout: float = 0.3, channels: int = 1, padding: str = "valid", fires: Fires = FIRES
) -> keras.Model:
    """SqueezeNet without any padding: (N, H, W, channels) normalised gray -> class map of logits (N, h, w, classes).

    ``h = (H - 143) // 16 + 1``; a chop's logits are the mean over its map. Because nothing is padded, a cell depends on its own
    143 x 143 px only: a map of a whole drop holds the maps of all chops at multiples of 16 px, exactly. ``padding="same"`` gives the
    usual padded network, which knows no such thing.
    """
    import keras
    from keras import layers

    pixels = keras.Input((None, None, channels), name="pixels")
    features = _plain(pixels, FIRST_FILTERS, 3, padding, strides=2)
    for fire in fires:
        features = layers.MaxPooling2D(3, 2, padding=padding)(features) if fire is None else _fire(features, *fire, padding)
    features = layers.Dropout(dropout)(features)
    class_map = layers.Conv2D(classes, 1, name="class_map", dtype="float32")(features)  # bfloat16 is too coarse for logits
    return keras.Model(pixels, class_map, name="chop_squeezenet")


def drop_unet(filters: int = 8, side: int = 128, depth: int = 4) -> keras.Model:
    """U-Net (P7): standardised gray (N, side, side, 1) -> probabilities (N, side, side, 2) of drop and of well.

    ``side`` must be a multiple of 2 ** (depth + 1). The first and the last layer halve and double the resolution, so that all
    others work at half of it: four times faster. The well is predicted too because that keeps the drop inside of it.
    """
    import keras
    from keras import layers

    if side % 2 ** (depth + 1):
        raise ValueError(f"side must be a multiple of {2 ** (depth + 1)}, not {side}")

    def double(inputs: Any, width: int) -> Any:
        return _normed(_normed(inputs, width, 3, padding="same"), width, 3, padding="same")

    pixels = keras.Input((side, side, 1), name="pixels")
    features, skips = _normed(pixels, filters, 4, strides=2, padding="same"), []
    for level in range(depth):
        features = double(features, filters * 2**level)
        skips.append(features)
        features = layers.MaxPooling2D(2)(features)
    features = double(features, filters * 2**depth)
    for level in reversed(range(depth)):
        raised = layers.Conv2DTranspose(filters * 2**level, 2, strides=2)(features)
        features = double(layers.Concatenate()([raised, skips[level]]), filters * 2**level)
    last: dict[str, Any] = {"strides": 2, "padding": "same", "activation": "sigmoid", "name": "masks", "dtype": "float32"}
    masks = layers.Conv2DTranspose(len(DROP_CHANNELS), 4, **last)(features)
    return keras.Model(pixels, masks, name="drop_unet")
