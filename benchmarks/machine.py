"""The machine under a benchmark: what it is, how fast it multiplies matrices, and how much memory a process took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

#: Packages whose versions decide how fast anything is.
PACKAGES = ("numpy", "onnxruntime", "pillow", "onnx", "keras", "tensorflow", "torch", "jax", "mxnet")
#: What the libraries read at their start to know how many threads to use: BLAS in all its makes, OpenMP (MXNet, torch), TensorFlow.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
_SGEMM_SIDES = (1024, 1536, 2048)
_SGEMM_TIMES = 6


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that a table of times is worthless without; nothing that names the machine or its owner."""

    processor: str
    processors: int
    system: str
    python: str
    versions: dict[str, str]


def machine() -> Machine:
    """This machine, now."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        processors=processors(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=versions,
    )


def processors() -> int:
    """How many processors this program may use, which in a container or batch job are not all."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


class Others:
    """How much else the machine has to do between the making of this object and ``busy``."""

    def __init__(self) -> None:
        self._start = self._now()

    def busy(self) -> float | None:
        """How many processors other programs kept busy on average, None where the system does not tell.

        Programs that this one has started and that have ended count as its own.
        """
        (all_before, own_before, before), (all_now, own_now, now) = self._start, self._now()
        if all_before is None or all_now is None or now == before:
            return None
        return max(0.0, (all_now - all_before - own_now + own_before) / (now - before))

    @staticmethod
    def _now() -> tuple[float | None, float, float]:
        """Processor seconds of all programs since the machine's start, those of this one, and a clock."""
        own = os.times()
        try:
            user, nice, system = (int(ticks) for ticks in Path("/proc/stat").read_text(encoding="ascii").split()[1:4])
            every: float | None = (user + nice + system) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            every = None
        return every, sum(own[:4]), time.perf_counter()


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that computes on ``threads`` threads and on no graphics card."""
    ours = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | ours | {"CUDA_VISIBLE_DEVICES": "-1"}


def sgemm_rate() -> float:
    """Multiplications with addition of float32 a second, in thousands of millions (GMAC/s): the best of several square products.

    It runs on as many threads as the environment gives the process. No convolution in float32 gets beyond it by much.
    """
    best = 0.0
    random = np.random.default_rng(0)
    for side in _SGEMM_SIDES:
        left, right = (random.random((side, side), dtype=np.float32) for _ in range(2))
        out = left @ right  # the first product also starts the threads
        for _ in range(_SGEMM_TIMES):
            start = time.perf_counter()
            np.matmul(left, right, out=out)
            best = max(best, side**3 / (time.perf_counter() - start) / 1e9)
    return best


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not tell."""
    try:
        # Not ru_maxrss on Linux: a process inherits that figure from the one that started it.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
