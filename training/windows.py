"""An image's windows as logits, as the client sees them."""

from __future__ import annotations

from PIL import Image

from client_app.classify import drop_logits, sweep_of
from client_app.drop import find_drop
from client_app.model import FloatArray, Model


def image_logits(model: Model, image: Image.Image, um_per_px: float | None) -> FloatArray | None:
    """Logits (n, 13) of an image's windows at the model's own step and scales, None where no drop is found.

    They are the client's, before any calibration. Raises ``ImageError`` as ``client_app.classify.classify`` does.
    """
    luminance = image.convert("L")
    drop = find_drop(model, luminance)
    if drop is None:
        return None
    _, logits = drop_logits(model, luminance, drop, um_per_px, model.step(None), sweep_of(model.spec.chops))
    return logits
