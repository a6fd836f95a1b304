"""A model folder small enough for tests, whose answers can be worked out by hand, and pictures of drops for it.

The drop network calls a pixel drop when it is brighter than the image's mean by 0.2 deviations. The chop network sees nothing but
mean brightness: each class has a brightness of its own (1 is the image's 92nd percentile), and a window belongs to the nearest.
Its logits -K (v - t)^2 are linear in v but for a term that all classes share, so one convolution computes them.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from crystal_search.classes import NAMES

SIDE, WINDOW, STRIDE, FIELD = 64, 32, 16, 16
WIDTH, HEIGHT = 256, 192
SHARPNESS = 200.0
FAR = 5.0
TARGETS = {"crystals_harvestable": 0.1, "precipitate": 0.4, "phase_separation": 0.7, "clear": 1.0}

DROP, WELL = 200, 60
#: Gray values of patches in a drop of brightness 200 that give a class its very own brightness.
GRAY = {name: round(target * DROP) for name, target in TARGETS.items()}


def _network(nodes: list[Any], constants: dict[str, np.ndarray], inputs: list[Any], outputs: list[Any]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **node[3]) for node in nodes],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def drop_network(side: int = SIDE) -> bytes:
    """Probability of drop, and the same again for the well."""
    nodes = [
        ("Sub", ["pixels", "edge"], ["above"], {}),
        ("Mul", ["above", "gain"], ["logit"], {}),
        ("Sigmoid", ["logit"], ["drop"], {}),
        ("Concat", ["drop", "drop"], ["answer"], {"axis": 3}),
    ]
    constants = {"edge": np.float32(0.2).reshape(1), "gain": np.float32(10).reshape(1)}
    return _network(nodes, constants, ["n", side, side, 1], ["n", side, side, 2])


def chop_network(classes: int = len(NAMES), add: float = 0.0) -> bytes:
    """One convolution; ``add`` is added to every logit (NaN makes a broken network)."""
    targets = np.array([TARGETS.get(name, FAR) for name in NAMES[:classes]], dtype=np.float32)
    kernel = np.ones((classes, 1, FIELD, FIELD), dtype=np.float32) * (2 * SHARPNESS * targets / FIELD**2).reshape(-1, 1, 1, 1)
    nodes = [
        ("Transpose", ["pixels"], ["channels_first"], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["channels_first", "kernel", "bias"], ["map"], {"strides": [STRIDE, STRIDE]}),
        ("Transpose", ["map"], ["answer"], {"perm": [0, 2, 3, 1]}),
    ]
    constants = {"kernel": kernel, "bias": -SHARPNESS * targets**2 + np.float32(add)}
    return _network(nodes, constants, ["n", "h", "w", 1], ["n", "y", "x", classes])


def model_toml(drop: bytes, chops: bytes, **replaced: str) -> str:
    """The text of ``model.toml``; ``replaced`` maps a key to another right-hand side (TOML)."""
    values = {
        "format": "1",
        "name": '"tiny-1"',
        "classes": str(list(NAMES)),
        "threshold": "0.85",
        "um_per_px": "4.0",
        "image_width": str(WIDTH),
        "scales": "[1.0]",
        "drop_sha256": f'"{hashlib.sha256(drop).hexdigest()}"',
        "chops_sha256": f'"{hashlib.sha256(chops).hexdigest()}"',
        "step": "16",
        "steps": "[16, 32]",
        "dense_exact": "true",
        "window": str(WINDOW),
        "receptive_field": str(FIELD),
        "margin": "0",
        "normalisation": '"percentile-92"',
        "drop_file": '"drop.onnx"',
        "min_area": "0.01",
        "temperature": "1.0",
        "bias": "[]",
    } | replaced
    return """\
format = {format}
name = {name}
classes = {classes}
threshold = {threshold}
um_per_px = {um_per_px}
image_width = {image_width}
scales = {scales}
drop_types = ["vapour diffusion"]
[drop]
file = {drop_file}
sha256 = {drop_sha256}
side = 64
threshold = 0.5
min_area = {min_area}
[chops]
file = "chops.onnx"
sha256 = {chops_sha256}
window = {window}
stride = 16
receptive_field = {receptive_field}
margin = {margin}
step = {step}
steps = {steps}
dense_exact = {dense_exact}
normalisation = {normalisation}
[calibration]
temperature = {temperature}
bias = {bias}
[training]
images = 0
""".format(**values)


def write_model(folder: Path, *, drop: bytes | None = None, chops: bytes | None = None, **replaced: str) -> Path:
    """Write the model folder and return it."""
    drop, chops = drop or drop_network(), chops or chop_network()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drop.onnx").write_bytes(drop)
    (folder / "chops.onnx").write_bytes(chops)
    (folder / "model.toml").write_text(model_toml(drop, chops, **replaced), encoding="utf-8")
    return folder


def picture(*patches: tuple[str, int, int], size: tuple[int, int] = (WIDTH, HEIGHT), drop: bool = True) -> Image.Image:
    """A bright drop of 128 x 96 px around the middle of a 256 x 192 px well, with patches (class, x, y) of 64 x 64 px on it.

    Another ``size`` scales all of it. The drop's box is (64, 48, 192, 144).
    """
    pixels = np.full((HEIGHT, WIDTH), WELL, dtype=np.uint8)
    if drop:
        pixels[48:144, 64:192] = DROP
    for name, x, y in patches:
        pixels[y : y + 64, x : x + 64] = GRAY[name]
    image = Image.fromarray(pixels)
    return image if size == (WIDTH, HEIGHT) else image.resize(size, Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
