"""What the camera does to the light: focus, noise, gain, 8 bits and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic.textures import Field, Rng, blur, child


@dataclass(frozen=True)
class Camera:
    """Blur in px of 1280, gain, gamma, deviation of the noise in gray levels, JPEG quality."""

    focus: float
    gain: float
    gamma: float
    noise: float
    quality: int


def draw_camera(rng: Rng) -> Camera:
    """A camera as training sees them."""
    focus = float(rng.choice([0.0, 0.6, 1.1, 1.9], p=[0.33, 0.37, 0.22, 0.08]) * rng.uniform(0.7, 1.3))
    gain, gamma = float(rng.uniform(0.94, 1.05)), float(rng.uniform(0.9, 1.12))
    noise = float(rng.choice([0.4, 1.2, 2.5], p=[0.4, 0.4, 0.2]))
    return Camera(focus, gain, gamma, noise, quality=int(rng.integers(68, 97)))


def photograph(light: Field, rng: Rng, unit: float, camera: Camera | None = None) -> npt.NDArray[np.uint8]:
    """The picture (h, w, 3) RGB uint8 of light (h, w, channels) in 0-255, taken by a camera at ``unit`` px for each px of 1280.

    ``camera`` None draws one.
    """
    camera = camera or draw_camera(rng)
    taken = blur(light, camera.focus * unit).reshape(light.shape)
    # Noise of a full image averages out when it is made smaller.
    grains = child(rng).standard_normal(taken.shape[:2], dtype=np.float32) * np.float32(camera.noise * min(1.0, 1.5 * unit))
    picture = np.clip(taken + grains[..., np.newaxis], 0, 255).astype(np.uint8)
    curve = np.clip(255.0 * camera.gain * (np.arange(256) / 255.0) ** camera.gamma, 0, 255).astype(np.uint8)
    picture = np.asarray(cv2.LUT(picture, curve), dtype=np.uint8).reshape(taken.shape)
    colour = light.shape[-1] == 3
    coded = cv2.imencode(".jpg", picture[..., ::-1] if colour else picture, [cv2.IMWRITE_JPEG_QUALITY, camera.quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
