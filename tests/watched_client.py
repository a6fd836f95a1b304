"""The volunteer's program with a bell: ``python watched_client.py MOMENT IN.zip OUT.zip ...`` prints a line when MOMENT comes.

At ``writing`` the disk is very slow; at ``stuck`` the disk never answers again, and no signal gets the program out of that call.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
import zipfile
from collections.abc import Callable
from typing import Any

import onnxruntime
from PIL import Image, ImageFile

from client_app import image, main


def ring(
    owner: Any, name: str, then: Callable[[], object] = lambda: None, when: Callable[..., bool] = lambda *_: True, times: int = 1
) -> None:
    """Print a line, and call ``then``, whenever ``owner.name`` is called with arguments that ``when`` likes.

    The call is made ``times`` times, for what is too fast to be met in the middle.
    """
    original = getattr(owner, name)

    def with_bell(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            print("now", flush=True)
            then()
            for _ in range(times - 1):
                original(*arguments, **options)
        return original(*arguments, **options)

    setattr(owner, name, with_bell)


def never_return() -> None:
    """Lock a lock of the C library twice: the second call waits for ever, whatever signals come."""
    lock = ctypes.create_string_buffer(64)
    library = ctypes.CDLL(None)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)


def large(picture: Any, *_: object) -> bool:
    return bool(picture.width > 5000)


def many_pixels(_session: object, _outputs: object, inputs: dict[str, Any]) -> bool:
    return max(pixels.shape[1] for pixels in inputs.values()) > 100


MOMENTS: dict[str, Callable[[], None]] = {
    "decoding": lambda: ring(ImageFile.ImageFile, "load", when=large),
    "resampling": lambda: ring(Image.Image, "resize", when=large, times=1000),
    "drawing": lambda: ring(image, "overlay", when=large, times=1000),
    "network": lambda: ring(onnxruntime.InferenceSession, "run", when=many_pixels),
    "writing": lambda: ring(zipfile.ZipFile, "writestr", lambda: time.sleep(60)),
    "stuck": lambda: ring(os, "fsync", never_return),
}

if __name__ == "__main__":
    moment = sys.argv.pop(1)
    MOMENTS[moment]()
    main.main()
