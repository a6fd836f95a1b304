"""How much memory an image needs, how much the program may use, and how much the computer has left: one line instead of swapping."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from client_app.classify import MAX_WORKING_PIXELS, needed_size
from client_app.decode import MAX_PIXELS, open_header
from client_app.errors import ImageError
from client_app.model import ModelSpec
from client_app.preprocess import working_size
from crystal_search.errors import TryAgainLater

MB = 2**20
#: Enough for every image that this program reads (docs/decisions/0015).
DEFAULT_MEMORY_MB = 1280
#: With less there is no room for the networks and one usual image.
LEAST_MEMORY_MB = 256

#: The program with its networks loaded and what these take while they run, in bytes: 170 MB measured, and a reserve.
_PROGRAM = 220 * MB
#: That part of it which images at once have in common: libraries and weights. A running network takes the rest.
_SHARED = 110 * MB
#: Bytes a pixel while an image is resampled and normalised for the chop network; 12 were measured at 30 megapixels.
_WORKING_BYTES = 14
#: Bytes a pixel in Pillow's memory; every other mode has four.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}


def memory_needed(content: bytes, um_per_px: float | None, spec: ModelSpec) -> int:
    """Bytes of memory that the whole program needs at most while it scores the image file ``content``, by the file's header.

    For a file that is no image, and one beyond the limits, it is the program alone: such a file is refused before it is decoded.
    """
    base = _PROGRAM + len(content)
    try:
        image = open_header(content)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            return base
        working = _working_pixels(image, um_per_px, spec)
        coefficients = (
            2 * len(image.getbands()) if image.info.get("progressive") else 0
        )  # a byte pair for each, whatever the size asked for
        image.draft(None, needed_size(spec, um_per_px)(image.width, image.height))
        decoded = image.width * image.height
    except Exception:  # a crafted file makes Pillow raise almost anything, and decoding will say what is wrong
        return base
    stored, converted = _bytes_a_pixel(image)
    return base + max(decoded * (stored + converted) + pixels * coefficients, decoded * 5 + working * _WORKING_BYTES)


def _bytes_a_pixel(image: Image.Image) -> tuple[int, int]:
    """Bytes that a pixel takes when it is decoded, and those more that it takes while it is, or while it is brought to L or RGB."""
    stored = _MODE_BYTES.get(image.mode, 4)
    decoder = stored if image.format == "TIFF" and image.info.get("compression", "raw") != "raw" else 0  # all pixels may be one strip
    if image.mode in ("L", "RGB"):
        converted = 1
    elif image.mode in ("1", "LA"):
        converted = 2
    elif image.mode == "P":
        converted = 9
    else:
        converted = 3 * stored + 1 if image.mode.startswith("I") else 5
    return stored, max(decoder, converted)


def _working_pixels(image: Image.Image, um_per_px: float | None, spec: ModelSpec) -> int:
    most = 0
    for scale in spec.scales:
        factor = spec.um_per_px / scale
        width, height = working_size(image.width, image.height, um_per_px, factor, max(1, round(spec.image_width * scale)))
        most = max(most, width * height)
    return min(most, MAX_WORKING_PIXELS)  # a larger one is refused


def check_memory(needed: int, memory_mb: int) -> None:
    """Raise ``ImageError`` where an image needs more than ``memory_mb``, ``TryAgainLater`` where the computer has less than that left."""
    if needed > memory_mb * MB:
        raise ImageError(f"needs about {needed // MB} MB of memory, {memory_mb} MB are allowed: --memory-mb {needed // MB + 1} would do")
    check_free_memory(needed)


class Reserved:
    """The memory of images that are scored at once; safe to share between threads."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def for_image(self, needed: int) -> Iterator[None]:
        """Hold what an image takes for which the whole program needs ``needed`` bytes, as long as the block runs.

        Waits until there is room for it beside the others. Raises as ``check_memory`` does.
        """
        check_memory(needed, self._memory_mb)
        own, room = needed - _SHARED, self._memory_mb * MB - _SHARED
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + own <= room)
            self._held += own
        try:
            yield
        finally:
            with self._changed:
                self._held -= own
                self._changed.notify_all()


def check_free_memory(needed: int) -> None:
    """Raise ``TryAgainLater`` where the computer has less than ``needed`` bytes left, of which this program already has a part."""
    free, here = free_memory(), _resident()
    if free is not None and free + here < needed:
        line = f"only {free // MB} MB of memory are free, about {(needed - here) // MB} MB are needed"
        raise TryAgainLater(f"{line}: start again when other programs have ended; nothing was lost")


def free_memory() -> int | None:
    """Bytes that programs can have before this computer, or the container around this program, swaps or kills; None if not known."""
    if sys.platform == "win32":
        return _free_on_windows()
    return min(_free_on_linux(), default=None)


def _free_on_linux(root: Path = Path("/")) -> Iterator[int]:
    with suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError):
        group = root / "sys/fs/cgroup"
        own = next((line[3:] for line in (root / "proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), "/")
        folder = group / own.strip().lstrip("/")
        while folder == group or group in folder.parents:
            with suppress(OSError, ValueError):  # "max" is no number
                most = int((folder / "memory.max").read_text())
                yield max(0, most - int((folder / "memory.current").read_text()) + _reclaimable(folder))
            folder = folder.parent


def _reclaimable(group: Path) -> int:
    """Bytes of files that a control group holds in memory and can drop."""
    fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int(fields["inactive_file"])


def _resident() -> int:
    """Bytes of memory that this program has; 0 if not known."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    return 0


def _free_on_windows() -> int | None:
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64), ("free", ctypes.c_uint64)] + [
                (name, ctypes.c_uint64) for name in ("a", "b", "c", "d", "e")
            ]

        status = Status(length=ctypes.sizeof(Status))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return int(status.free)
    return None


def limit_memory(memory_mb: int, threads: int) -> None:
    """From now on no more than ``memory_mb`` are given to this program: what wants more ends as a ``MemoryError``, not in the swap space.

    On Linux only. ``threads`` is how many a network uses: their stacks count, though they stay almost empty.
    """
    if sys.platform != "linux":
        return
    import resource

    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stacks = 2 * threads * (8 * MB if stack == resource.RLIM_INFINITY else stack)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [memory_mb * MB + stacks, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
