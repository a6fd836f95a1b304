"""One image from its bytes to its result: decode, find the drop, classify, score, draw. Whatever goes wrong stays with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from client_app.artscore import Chop, artscore, best_chops, class_probabilities
from client_app.classify import classify, needed_size
from client_app.decode import decode_photo
from client_app.drop import find_drop
from client_app.errors import one_line
from client_app.labels import Look
from client_app.model import Model
from client_app.outline import outline
from client_app.overlay import overlay
from client_app.regions import crystal_regions
from crystal_search.archives import ChopResult, ImageResult, Status
from crystal_search.classes import BY_NAME
from crystal_search.errors import CrystalSearchError, TryAgainLater

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """How to score: step in px at the working resolution, threshold, number of chops, and which overlays to draw.

    ``overlays`` holds groups of classes, ``unsure``, ``no_drop``, or ``all``.
    """

    step: int
    threshold: float
    chops: int
    overlays: frozenset[str]

    def wants_overlay(self, status: Status, class_name: str | None) -> bool:
        kind = BY_NAME[class_name].group if class_name else status
        return "all" in self.overlays or kind in self.overlays


def score_image(
    model: Model,
    wish: Wish,
    image_id: str,
    read: Callable[[], bytes],
    um_per_px: float | None,
    look: Callable[[Look], None] | None = None,
) -> tuple[ImageResult, bytes | None]:
    """The result of one image, and its overlay as JPEG where ``wish`` wants one.

    ``look`` is called with what was seen, crystal regions and all, unless the image failed; it may raise ``TryAgainLater``.
    Never raises for what is wrong with the image, nor for what fails because of it (memory, a network): that is status
    ``failed`` with one line why. ``read`` returns the file's bytes and may raise a ``CrystalSearchError``; ``TryAgainLater``, a disk
    that does not answer just now, is not the image's fault and passes.
    """
    start = time.perf_counter()
    picture: bytes | None = None
    try:
        result, picture = _score(model, wish, image_id, read(), um_per_px, look)
    except TryAgainLater:
        raise
    except CrystalSearchError as error:
        result = _failed(image_id, str(error))
    except MemoryError:
        result = _failed(image_id, "not enough memory for this image")
    except Exception as error:  # onnxruntime's errors share no base class, and one bad image must not lose the others
        log.debug("image %s", image_id, exc_info=True)
        result = _failed(image_id, one_line(error))
    return _timed(result, time.perf_counter() - start), picture


def _score(
    model: Model, wish: Wish, image_id: str, content: bytes, um_per_px: float | None, look: Callable[[Look], None] | None
) -> tuple[ImageResult, bytes | None]:
    photo = decode_photo(content, needed_size(model.spec, um_per_px))
    image = photo.pixels
    luminance = image.convert("L")
    drop = find_drop(model, luminance)
    if drop is None:
        result, chops, regions = ImageResult(id=image_id, status=Status.NO_DROP), list[Chop](), list[Chop]()
    else:
        windows = classify(model, luminance, drop, um_per_px * photo.reduced if um_per_px else None, wish.step)
        score = artscore(windows.probabilities, wish.threshold)
        chops = best_chops(windows, score, wish.chops)
        regions = crystal_regions(windows, model.spec.chops, wish.threshold) if look else []
        result = ImageResult(
            id=image_id,
            status=Status.SCORED if score.class_name else Status.UNSURE,
            drop_box=photo.in_file(drop.box).as_tuple(),
            outline=outline(drop.mask, photo.width, photo.height, photo.in_file(drop.box)),
            class_name=score.class_name,
            score=BY_NAME[score.class_name].score if score.class_name else None,
            probability=score.probability,
            crystal_probability=score.crystal_probability,
            class_probabilities=class_probabilities(windows),
            chops=[
                ChopResult(box=photo.in_file(chop.box).as_tuple(), class_name=chop.class_name, probability=chop.probability)
                for chop in chops
            ],
        )
    if look:
        look(Look(photo, result.status, [chop for chop in chops if chop.probability > wish.threshold], regions))
    if not wish.wants_overlay(result.status, result.class_name):
        return result, None
    return result, overlay(image, drop.box if drop else None, result.class_name, chops)


def _failed(image_id: str, reason: str) -> ImageResult:
    return ImageResult(id=image_id, status=Status.FAILED, reason=" ".join(reason.split())[:300])


def _timed(result: ImageResult, seconds: float) -> ImageResult:
    return msgspec.structs.replace(result, seconds=round(seconds, 3))
