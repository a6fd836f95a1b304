"""The drop finder: drawn wells or masks that people drew in, a U-Net out (P7)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.preprocess import drop_input
from training.shards import Arrays

SIDE = 128
#: Wells are drawn this much wider than the network's view.
DRAWN_WIDTH = 1.5
#: Bits of a mask: the drop, the well, and whether nobody said where the well is.
DROP, WELL, WELL_UNKNOWN = 1, 2, 4
#: Share of close-ups, and how much wider these are drawn, of which a part is shown.
CLOSE_UPS, CLOSE_UP_WIDTH = 0.06, 5.0

Pixels = npt.NDArray[np.float32]


def draw_examples(side: int, seeds: range) -> Arrays:
    """Views of one well a seed: ``pixels`` float16 (n, side, side) as the network sees them, ``masks`` uint8 of the same shape with
    the bits :data:`DROP` and :data:`WELL`, ``extents`` (n, 2): height and width in px of the part that shows the image."""
    pixels = np.zeros((len(seeds), side, side), np.float16)
    masks = np.zeros((len(seeds), side, side), np.uint8)
    extents = np.zeros((len(seeds), 2), np.int16)
    for index, seed in enumerate(seeds):
        image, drop_mask, well_mask = _view(seed, side)
        view = drop_input(Image.fromarray(image), side)
        pixels[index] = view.pixels[..., 0]
        extents[index] = view.height, view.width
        for bit, mask in ((DROP, drop_mask), (WELL, well_mask)):
            masks[index, : view.height, : view.width] |= small_mask(mask, view.width, view.height) * np.uint8(bit)
    return {"pixels": pixels, "masks": masks, "extents": extents}


def small_mask(mask: npt.NDArray[np.bool_], width: int, height: int) -> npt.NDArray[np.uint8]:
    """A mask (rows, columns) at ``width`` x ``height`` px: 1 where more than half of what a pixel shows is in it."""
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0.5, dtype=np.uint8)


def _view(seed: int, side: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Picture (h, w, 3), drop and well masks (h, w) of a drawn well: the whole of it, or a close-up that its drop may fill."""
    from training.synthetic import draw_well

    rng = np.random.default_rng([seed, 79])
    if rng.random() >= CLOSE_UPS:
        well = draw_well(seed, width=round(side * DRAWN_WIDTH))
        return well.image, well.drop_mask, well.well_mask
    well = draw_well(seed, width=round(side * CLOSE_UP_WIDTH))
    height, width = well.drop_mask.shape
    share = rng.uniform(0.25, 0.7)
    h, w = round(share * height), round(share * width)
    rows, columns = np.nonzero(well.drop_mask) if well.drop_mask.any() else np.nonzero(np.ones_like(well.drop_mask))
    pick = int(rng.integers(len(rows)))
    top, left = int(np.clip(rows[pick] - h // 2, 0, height - h)), int(np.clip(columns[pick] - w // 2, 0, width - w))
    part = (slice(top, top + h), slice(left, left + w))
    return well.image[part], well.drop_mask[part], well.well_mask[part]


def augment(pixels: Pixels, mask: npt.NDArray[np.uint8], rng: np.random.Generator, side: int) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Another look at one well (height, width): part of it, turned, with another tone curve, blur and noise; again ``side`` px large."""
    height, width = pixels.shape
    share = rng.uniform(0.75, 1.0) if rng.random() < 0.5 else 1.0
    h, w = round(height * share), round(width * share)
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    pixels, mask = pixels[y : y + h, x : x + w], mask[y : y + h, x : x + w]
    turns = int(rng.integers(4)) if rng.random() < 0.3 else 0
    pixels, mask = np.rot90(pixels, turns), np.rot90(mask, turns)
    for axis in (0, 1):
        if rng.random() < 0.5:
            pixels, mask = np.flip(pixels, axis), np.flip(mask, axis)
    scale = side / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    if size != pixels.shape[::-1]:
        pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(np.ascontiguousarray(mask), size, interpolation=cv2.INTER_NEAREST)
    pixels = np.asarray(pixels + rng.normal(0.0, 0.12) * np.square(np.clip(pixels, -3, 3)), dtype=np.float32)
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(np.ascontiguousarray(pixels), (0, 0), rng.uniform(0.3, 0.9))
    pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0.0, 0.06))
    pixels = (pixels - pixels.mean()) / max(float(pixels.std()), 1e-3)
    pad = ((0, side - size[1]), (0, side - size[0]))
    return np.pad(pixels, pad, mode="edge").astype(np.float32), np.pad(mask, pad, mode="edge")


def targets(masks: npt.NDArray[np.uint8]) -> Pixels:
    """Bit masks (n, h, w) as the network's output: float32 (n, h, w, 2) of drop and well, -1 where the well is not known."""
    well = np.where(masks & WELL_UNKNOWN, np.float32(-1), np.float32(1) * ((masks & WELL) > 0))
    return np.stack([masks & DROP, well], axis=-1).astype(np.float32)


def batch(data: Arrays, rng: np.random.Generator, size: int) -> tuple[Pixels, Pixels]:
    """``size`` augmented examples: pixels (size, side, side, 1) and targets (size, side, side, 2)."""
    pixels, masks, extents = data["pixels"], data["masks"], data["extents"]
    side = pixels.shape[1]
    looks = []
    for index in rng.integers(len(pixels), size=size):
        height, width = extents[index]
        looks.append(augment(pixels[index, :height, :width].astype(np.float32), masks[index, :height, :width], rng, side))
    return np.stack([look for look, _ in looks])[..., np.newaxis], targets(np.stack([mask for _, mask in looks]))


def loss(truth: Any, predicted: Any) -> Any:
    """Binary cross-entropy plus dice of both masks; the drop counts double, a truth of -1 not at all. Shapes (n, h, w, 2)."""
    from keras import ops

    weights = ops.convert_to_tensor([2.0, 1.0])
    known = ops.cast(truth >= 0, "float32")
    truth = truth * known
    p = ops.clip(predicted, 1e-5, 1 - 1e-5)
    entropy = -known * (truth * ops.log(p) + (1 - truth) * ops.log(1 - p))
    p = p * known
    shared = 2 * ops.sum(truth * p, axis=(1, 2)) + 20.0
    dice = 1 - shared / (ops.sum(truth, axis=(1, 2)) + ops.sum(p, axis=(1, 2)) + 20.0)
    return ops.mean(entropy * weights) * 2 + ops.mean(dice * weights)


def validate(data: Arrays, model: Any, size: int = 64) -> dict[str, float]:
    """Loss, mean IoU of the drops, share of drops with IoU above 0.7, share of empty wells in which more than 0.4 % is called drop."""
    overlaps, false, losses = [], [], []
    for start in range(0, len(data["pixels"]), size):
        pixels = data["pixels"][start : start + size].astype(np.float32)[..., np.newaxis]
        predicted = np.asarray(model.predict_on_batch(pixels))
        losses.append(float(loss(targets(data["masks"][start : start + size]), predicted)) * len(pixels))
        found = predicted[..., 0] > 0.5
        truth = (data["masks"][start : start + size] & DROP).astype(bool)
        for f, t in zip(found, truth, strict=True):
            if t.any():
                overlaps.append(float((f & t).sum() / (f | t).sum()))
            else:
                false.append(float(f.mean() > 0.004))
    return {
        "held_out_loss": sum(losses) / len(data["pixels"]),
        "iou": float(np.mean(overlaps)) if overlaps else float("nan"),
        "drops_right": float(np.mean(np.array(overlaps) > 0.7)) if overlaps else float("nan"),
        "false_drops": float(np.mean(false)) if false else float("nan"),
    }


def drawer(side: int = SIDE) -> partial[Arrays]:
    """Draws examples of ``side`` px; picklable."""
    return partial(draw_examples, side)


def work_folder(work: Path) -> Path:
    """Where the drop finder's examples and checkpoints are kept."""
    return work / "drop"
