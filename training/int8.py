"""The chop network in int8: static quantisation in ONNX's QDQ form, a scale for each output channel of a kernel.

Faster on processors with VNNI, and nowhere else; a model of its own, since its scores differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from client_app.classify import drop_logits
from client_app.drop import BoolMask, find_drop
from client_app.errors import ImageError
from client_app.model import FloatArray, Model, Network
from client_app.preprocess import FloatImage
from crystal_search.classes import NAMES
from crystal_search.extras import require

#: Crops that show the quantisation how large the numbers get.
CALIBRATION_IMAGES = 16


def quantise(network: bytes, crops: Iterable[FloatImage], file: Path) -> None:
    """Write ``network`` in int8 to ``file``; ``crops`` (height, width), at least one, show how large its numbers get.

    Raises ``SettingsError`` where the package onnx is not installed.
    """
    require("int8", "onnx")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load_model_from_string(network).graph.input[0].name

    class Crops(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._crops = iter(crops)

        def get_next(self) -> dict[str, Any] | None:
            crop = next(self._crops, None)
            return None if crop is None else {name: crop[None, ..., None]}

    with tempfile.TemporaryDirectory() as folder:
        float32, prepared = Path(folder) / "float32.onnx", Path(folder) / "prepared.onnx"
        float32.write_bytes(network)
        quant_pre_process(float32, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            file,
            Crops(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # 7 bits: without VNNI a processor adds two products in 16 bits, where they saturate, and scores would depend on the machine.
            reduce_range=True,
        )


def crops_of(model: Model, pictures: Iterable[Callable[[], Image.Image]], step: int) -> list[FloatImage]:
    """The crops (height, width) that the chop network sees of the first 16 pictures with a drop; what can not be opened is passed over."""
    crops: list[FloatImage] = []

    def keep(_: Network, pixels: FloatImage, window: int, step: int, counts: BoolMask) -> FloatArray:
        crops.append(pixels)
        return np.zeros((int(counts.sum()), len(NAMES)), np.float32)  # not used

    used = 0
    for open_picture in pictures:
        if used == CALIBRATION_IMAGES:
            break
        try:
            luminance = open_picture().convert("L")
        except (ImageError, OSError):
            continue
        if drop := find_drop(model, luminance):
            drop_logits(model, luminance, drop, None, step, keep)
            used += 1
    return crops
