"""The chop classifier: chops of drawn wells and of a lab's own images in, a SqueezeNet that needs no padding out (P12, P13)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from client_app.preprocess import BRIGHTNESS_CEILING
from crystal_search.classes import NAMES, Group
from training.outputs import THIRTEEN, Outputs
from training.shards import Arrays

WINDOW = 224
#: Chops are drawn this much larger, so that training can shift them against the network's grid.
MARGIN = 8
#: Magnifications of the drawn wells: imagers differ in scale.
ZOOM = (0.7, 1.5)
#: How often classes are shown in training; drops are mostly clear, and a false crystal costs a crystallographer's patience.
SHARES = {
    "crystals_harvestable": 0.11, "crystals_bad_form": 0.08, "crystals_overnucleated": 0.07,
    "precipitate": 0.09, "precipitate_bad": 0.07, "precipitate_good": 0.06,
    "null_experiment": 0.04, "other": 0.07, "spherulites": 0.04, "phase_separation": 0.05,
    "clear": 0.14, "clear_with_other_features": 0.06, "rim": 0.12,
}  # fmt: skip
#: Edges of drops may be far out of focus; crystals that are, nobody would call.
SOFTEST = {"clear": 3.0, "rim": 3.0}
#: Values 0 to 1.6 are kept as bytes.
_BYTE = BRIGHTNESS_CEILING / 255.0

Pixels = npt.NDArray[np.float32]


def draw_examples(side: int, seeds: range) -> Arrays:
    """Chops of one well a seed: ``pixels`` uint8 (n, side, side), brightness 0 to 1.6 on 0 to 255; ``labels`` uint8 (n,), class indices."""
    from training.synthetic.chops import draw_chops

    chops = [chop for seed in seeds for chop in draw_chops(seed, window=side, zoom=ZOOM)]
    pixels = [np.rint(np.clip(chop.pixels, 0, BRIGHTNESS_CEILING) / _BYTE).astype(np.uint8) for chop in chops]
    return {"pixels": np.stack(pixels), "labels": np.array([NAMES.index(chop.class_name) for chop in chops], np.uint8)}


def drawer(window: int = WINDOW) -> partial[Arrays]:
    """Draws chops of ``window`` px and the margin; picklable."""
    return partial(draw_examples, window + MARGIN)


def shade(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The chop with one to three faint, round, soft shadows, as dust on the optics throws them: they mean nothing in any class."""
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    for _ in range(int(rng.integers(1, 4))):
        distance = np.hypot(rows - rng.uniform(0, pixels.shape[0]), columns - rng.uniform(0, pixels.shape[1]))
        edge = np.clip((distance - rng.uniform(3, 22)) / rng.uniform(1.5, 6.0), -30, 30)
        passes = 1.0 - rng.uniform(0.01, 0.13) / (1.0 + np.exp(edge))
        pixels = np.asarray(pixels * passes.reshape(passes.shape + (1,) * (pixels.ndim - 2)), dtype=np.float32)
    return pixels


def augment(pixels: Pixels, window: int, rng: np.random.Generator, softest: float = 1.3) -> Pixels:
    """Another look at one chop (side, side) or (side, side, 3) of normalised brightness, ``window`` px large.

    It is shifted, turned, in other light, with shadows and noise.

    ``softest`` is the largest deviation in px of the blur that some get.
    """
    y, x = rng.integers(pixels.shape[0] - window + 1, size=2)
    pixels = np.rot90(pixels[y : y + window, x : x + window], int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = np.flip(pixels, 1)
    if rng.random() < 0.7:
        level = float(pixels.mean())
        pixels = level + (pixels - level) * np.float32(np.exp(rng.normal(0.0, 0.2)))
        pixels = pixels * np.float32(np.exp(rng.normal(0.0, 0.08)))
    if rng.random() < 0.3:
        pixels = np.power(np.maximum(pixels, 0.0), np.float32(np.exp(rng.normal(0.0, 0.2))))
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if rng.random() < 0.2 * softest:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, softest)))
    if rng.random() < 0.3:
        pixels = shade(pixels, rng)
    if rng.random() < 0.5:
        pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0.002, 0.02))
    return np.clip(pixels, 0.0, BRIGHTNESS_CEILING)


def one_hot(labels: npt.NDArray[np.uint8], outputs: Outputs = THIRTEEN) -> Pixels:
    """Class indices (n,) as float32 (n, outputs)."""
    return np.eye(len(outputs), dtype=np.float32)[outputs.labels(labels)]


class Balanced:
    """Makes batches in which classes appear as :data:`SHARES` says, whatever the data's own shares are, or as in the data."""

    def __init__(self, data: Arrays, window: int = WINDOW, *, as_in_data: bool = False, outputs: Outputs = THIRTEEN) -> None:
        self.data, self.window, self.outputs = data, window, outputs
        self.members = [np.flatnonzero(data["labels"] == index) for index in range(len(NAMES))]
        wanted = [len(members) if as_in_data else SHARES[name] for name, members in zip(NAMES, self.members, strict=True)]
        shares = np.array([share if len(members) else 0.0 for share, members in zip(wanted, self.members, strict=True)])
        self.shares = shares / shares.sum()

    def __call__(self, rng: np.random.Generator, size: int) -> tuple[Pixels, Pixels]:
        """``size`` augmented chops: pixels (size, window, window, 1) and one-hot classes (size, outputs)."""
        picks = [rng.choice(self.members[label]) for label in rng.choice(len(NAMES), size=size, p=self.shares)]
        looks = [self._look(pick, rng) for pick in picks]
        return channelled(np.stack(looks)), one_hot(self.data["labels"][picks], self.outputs)

    def _look(self, pick: int, rng: np.random.Generator) -> Pixels:
        softest = SOFTEST.get(NAMES[self.data["labels"][pick]], 1.3)
        return augment(self.data["pixels"][pick].astype(np.float32) * np.float32(_BYTE), self.window, rng, softest)


def channelled(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Chops (n, h, w) or (n, h, w, 3) with their channels as a last axis: (n, h, w, 1 or 3)."""
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


def centred(data: Arrays, window: int, start: int, end: int) -> Pixels:
    """Examples ``start`` to ``end`` without augmentation: (n, window, window, 1)."""
    edge = (data["pixels"].shape[1] - window) // 2
    cut = data["pixels"][start:end, edge : edge + window, edge : edge + window]
    return np.asarray(channelled(cut) * np.float32(_BYTE), dtype=np.float32)


def logits(model: Any, data: Arrays, window: int = WINDOW, size: int = 64) -> Pixels:
    """Logits (n, outputs) of all examples: the mean over each chop's class map."""
    starts = range(0, len(data["pixels"]), size)
    maps = [np.asarray(model.predict_on_batch(centred(data, window, start, start + size))) for start in starts]
    return np.asarray(np.concatenate(maps).mean(axis=(1, 2)), dtype=np.float32)


def softmax(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Probabilities along the last axis."""
    shifted = np.exp(values - values.max(axis=-1, keepdims=True), dtype=np.float64)
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def loss(truth: Any, class_map: Any) -> Any:
    """Cross-entropy of the map's mean logits; ``truth`` (n, outputs) one-hot, ``class_map`` (n, h, w, outputs)."""
    from keras import losses, ops

    return ops.mean(losses.categorical_crossentropy(truth, ops.mean(class_map, axis=(1, 2)), from_logits=True))


def figures(values: Pixels, labels: npt.NDArray[np.uint8], threshold: float = 0.85, outputs: Outputs = THIRTEEN) -> dict[str, float]:
    """Figures of logits (n, outputs) on held-out chops: loss, accuracy in classes and in groups, crystals found and false at the threshold.

    ``top5`` is the share of chops whose class is among the five most probable (P14), NaN where there are no more outputs than that;
    ``crystals_found`` the share of crystal chops in which one crystal class exceeds the threshold (P16), ``crystals_false`` the same
    of chops of all other classes.
    """
    probabilities, truth = softmax(values), outputs.labels(labels)
    best = probabilities.argmax(axis=1)
    right = probabilities[np.arange(len(truth)), truth]
    crystals = outputs.groups == list(Group).index(Group.CRYSTAL)
    crystal = crystals[truth]
    called = probabilities[:, crystals].max(axis=1) > threshold
    return {
        "held_out_loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        "accuracy": float((best == truth).mean()),
        "top5": float(((probabilities > right[:, None]).sum(axis=1) < 5).mean()) if len(outputs) > 5 else float("nan"),
        "group_accuracy": float((outputs.groups[best] == outputs.groups[truth]).mean()),
        "crystals_found": float(called[crystal].mean()) if crystal.any() else float("nan"),
        "crystals_false": float(called[~crystal].mean()) if (~crystal).any() else float("nan"),
    }


def validate(data: Arrays, window: int, model: Any, outputs: Outputs = THIRTEEN, training: Arrays | None = None) -> dict[str, float]:
    """The figures of a model on held-out chops, and ``training_accuracy`` on those of ``training``."""
    found = figures(logits(model, data, window), data["labels"], outputs=outputs)
    if training is not None:
        found["training_accuracy"] = figures(logits(model, training, window), training["labels"], outputs=outputs)["accuracy"]
    return found


def some(data: Arrays, count: int) -> Arrays:
    """``count`` examples, or fewer, spread evenly over the data."""
    places = np.unique(np.linspace(0, len(data["labels"]) - 1, count).astype(np.int64))
    return {name: data[name][places] for name in ("pixels", "labels")}


def temperature(values: Pixels, labels: npt.NDArray[np.integer[Any]]) -> float:
    """The number by which logits are divided so that held-out chops have the smallest loss (temperature scaling, Guo et al. 2017)."""
    grid = np.exp(np.linspace(np.log(0.5), np.log(4.0), 200))
    losses = [-np.log(np.maximum(softmax(values / t)[np.arange(len(labels)), labels], 1e-12)).mean() for t in grid]
    return round(float(grid[int(np.argmin(losses))]), 3)


def counts(labels: npt.NDArray[np.uint8]) -> dict[str, int]:
    """Number of chops of each class that has any, in the order of the table of classes."""
    numbers = np.bincount(labels, minlength=len(NAMES))
    return {name: int(number) for name, number in zip(NAMES, numbers, strict=True) if number}


def work_folder(work: Path, window: int = WINDOW) -> Path:
    """Where the chops and their trainings are kept; chops of another window are other examples."""
    return work / "chops" if window == WINDOW else work / f"chops-{window}"
