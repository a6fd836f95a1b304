"""A well scored by parts that can be exchanged, with a clock on each stage. The numbers are the client's: it is the client's code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.scoring.jobs import Well
from client_app.artscore import artscore, best_chops
from client_app.classify import Sweep, Windows, calibrated, drop_logits, needed_size
from client_app.decode import Photo, decode_photo
from client_app.drop import BoolMask, Drop
from client_app.model import FloatArray, Model, Network, Session
from client_app.overlay import overlay
from client_app.preprocess import FloatImage
from crystal_search.geometry import Box

#: In the order in which a well passes them.
STAGES = ("decode", "drop", "resample", "network", "rule", "overlay")
#: Chops that are drawn, as ``crystal-search score`` does.
CHOPS = 5


class Counting(Session):
    """A network that keeps the shapes of its inputs, for each thread by itself."""

    def __init__(self, content: bytes, threads: int) -> None:
        super().__init__(content, threads)
        self._of_thread = threading.local()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The inputs of this thread since it emptied the list."""
        if not hasattr(self._of_thread, "shapes"):
            self._of_thread.shapes = []
        shapes: list[tuple[int, ...]] = self._of_thread.shapes
        return shapes

    def __call__(self, pixels: FloatImage, /) -> FloatArray:
        self.shapes.append(pixels.shape)
        return super().__call__(pixels)


@dataclass(frozen=True, slots=True)
class Way:
    """How drops are found and how a drop's windows get their logits. What ``find`` finds is not used, only what it costs.

    ``counted`` is the network whose MACs count; ``model_weights`` says whether the scores mean anything.
    """

    find: Callable[[Image.Image], object]
    sweep: Sweep
    counted: Counting | None = None
    model_weights: bool = True


@dataclass(slots=True)
class Clock:
    """Adds up the seconds of each stage."""

    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stages[stage] += time.perf_counter() - start


def opened(model: Model, path: Path) -> Photo:
    """An image as the client decodes it. Raises ``ImageError`` and ``OSError``."""
    return decode_photo(path.read_bytes(), needed_size(model.spec, None))


def whole(box: Box) -> Drop:
    """A drop that fills its box, so that every window over the box counts."""
    return Drop(box, np.ones((1, 1), np.bool_))


def score_well(model: Model, way: Way, path: Path, drop: Box, step: int) -> Well:
    """Score one image whose drop is ``drop``, in px of what the client decodes, from its file to its overlay."""
    clock, start = Clock(), time.perf_counter()

    def sweep(network: Network, pixels: FloatImage, window: int, step: int, counts: BoolMask) -> FloatArray:
        with clock("network"):
            return way.sweep(network, pixels, window, step, counts)

    with clock("decode"):
        image = opened(model, path).pixels
        luminance = image.convert("L")
    with clock("drop"):
        way.find(luminance)
    with clock("resample"):
        boxes, logits = drop_logits(model, luminance, whole(drop), None, step, sweep)
    clock.stages["resample"] -= clock.stages["network"]  # which ran inside
    with clock("rule"):
        windows = Windows(boxes, calibrated(logits, model.spec.calibration))
        score = artscore(windows.probabilities, model.spec.threshold)
        chops = best_chops(windows, score, CHOPS)
    with clock("overlay"):
        overlay(image, drop, score.class_name, chops)
    return Well(
        seconds=time.perf_counter() - start,
        stages=clock.stages,
        windows=len(boxes),
        class_name=score.class_name,
        crystal_probability=score.crystal_probability,
    )


def one_at_a_time(answer: Callable[[FloatImage], FloatArray]) -> Sweep:
    """The paper's way over a drop (P15): each window on its own through ``answer``, from (1, window, window, 1) to a class map."""

    def sweep(_: Network, pixels: FloatImage, window: int, step: int, counts: BoolMask) -> FloatArray:
        views = np.lib.stride_tricks.sliding_window_view(pixels, (window, window))[::step, ::step]
        windows = (views[row, column] for row, column in np.argwhere(counts))
        maps = [answer(np.ascontiguousarray(one[np.newaxis, ..., np.newaxis])) for one in windows]
        return np.concatenate([one.mean(axis=(1, 2), dtype=np.float32) for one in maps])

    return sweep
