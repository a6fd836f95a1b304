"""Which of onnxruntime's execution providers runs the networks: a GPU's where one is asked for and answers like the CPU, else the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import onnxruntime

from client_app.errors import one_line
from client_app.model import CPU_PROVIDER, DIRECTML_PROVIDER, FloatArray, Model, Network, Session
from client_app.preprocess import FloatImage
from client_app.trial import TOLERANCE, Answers, deviation, trial_answers

log = logging.getLogger(__name__)


class Provider(StrEnum):
    """What may be asked for, the GPUs' in order of preference. ``auto`` is the CPU unless a device is given."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    DIRECTML = "directml"
    COREML = "coreml"
    OPENVINO = "openvino"
    WEBGPU = "webgpu"


#: onnxruntime's names. TensorRT is not among them: it would build its engine for minutes, longer than a work unit takes.
_NAMES = {
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.DIRECTML: DIRECTML_PROVIDER,
    Provider.COREML: "CoreMLExecutionProvider",
    Provider.OPENVINO: "OpenVINOExecutionProvider",
    Provider.WEBGPU: "WebGpuExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class ProviderWish:
    """What the call asked for; ``device`` is the number of a GPU as BOINC counts them, None where no GPU was assigned."""

    provider: Provider = Provider.AUTO
    device: int | None = None

    @property
    def providers(self) -> tuple[Provider, ...]:
        """What to try before the CPU. A GPU is somebody else's until it is given to us, so ``auto`` alone takes none."""
        if self.provider is Provider.AUTO:
            return () if self.device is None else tuple(_NAMES)
        return () if self.provider is Provider.CPU else (self.provider,)


class Runtime(Protocol):
    """onnxruntime, as far as it is needed here."""

    def available(self) -> Sequence[str]:
        """The names of the providers that this build of onnxruntime has."""

    def open(self, content: bytes, threads: int, provider: str, options: Mapping[str, str]) -> Network:
        """The network in ``content`` on a provider. What comes back may be on another: its ``provider`` tells. Raises anything."""


class OnnxRuntime:
    """The real one."""

    def available(self) -> Sequence[str]:
        return list(onnxruntime.get_available_providers())

    def open(self, content: bytes, threads: int, provider: str, options: Mapping[str, str]) -> Network:
        return Session(content, threads, provider, options)


class _Unfit(Exception):
    """Why a provider is passed over, in one line."""


def accelerated(model: Model, wish: ProviderWish, threads: int, runtime: Runtime | None = None) -> Model:
    """``model`` on the first provider of ``wish`` that loads and passes the trial; ``model`` itself where that is the CPU.

    Each provider that is passed over costs one line of the log. The model that comes back is safe to share between threads, and goes on on
    the CPU, with one line, when its provider fails later. Never raises because of a provider.
    """
    runtime = runtime or OnnxRuntime()
    available = runtime.available() if wish.providers else ()
    there = [provider for provider in wish.providers if _NAMES[provider] in available]
    if not there:
        if wish.providers:
            missing = "provider for a GPU" if len(wish.providers) > 1 else _NAMES[wish.provider]
            log.warning("this onnxruntime has no %s: using the CPU", missing)
        return model
    expected = trial_answers(model.spec, model.drop, model.chops)
    for provider, following in zip(there, [*(_NAMES[other] for other in there[1:]), "the CPU"], strict=True):
        name = _NAMES[provider]
        try:
            fast, difference = _tried(model, name, _options(provider, wish.device, threads), threads, runtime, expected)
        except _Unfit as why:
            log.warning("%s %s: using %s", name, why, following)
        else:
            log.info("the networks run on %s (largest difference to the CPU in the trial: %.1e)", name, difference)
            return fast
    return model


def _options(provider: Provider, device: int | None, threads: int) -> dict[str, str] | None:
    """What onnxruntime has to tell the provider; None where it has no way to use just that device."""
    match provider:
        case Provider.CUDA:
            # By default it would time every algorithm for each new size of a drop, and round float32 to 10 bits.
            return {"device_id": str(device or 0), "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
        case Provider.DIRECTML:
            return {"device_id": str(device or 0)}
        case Provider.OPENVINO:
            # ACCURACY: in the precision of the file; on a GPU the default is 16 bits. Its own number of threads is 8.
            where = "CPU" if device is None else f"GPU.{device}" if device else "GPU"
            return {"device_type": where, "precision": "ACCURACY", "num_of_threads": str(threads)}
        case _:
            return None if device else {}


def _tried(
    model: Model, name: str, options: Mapping[str, str] | None, threads: int, runtime: Runtime, expected: Answers
) -> tuple[Model, float]:
    """The model on provider ``name`` and its deviation from what is ``expected``. Raises ``_Unfit``."""
    if options is None:
        raise _Unfit("can not choose between GPUs, and another than the first was given")

    contents = {"drop": model.drop.content, "chops": model.chops.content}
    networks: dict[str, Network] = {}
    for part, content in contents.items():
        try:
            networks[part] = runtime.open(content, threads, name, options)
        except Exception as error:  # onnxruntime's errors share no base class, and a driver may raise anything
            raise _Unfit(f"does not load ({_reason(error)})") from error
        if networks[part].provider != name:
            raise _Unfit("does not load (onnxruntime went on without it)")
    try:
        difference = deviation(trial_answers(model.spec, networks["drop"], networks["chops"]), expected)
    except Exception as error:  # as above
        raise _Unfit(f"fails in the trial ({_reason(error)})") from error
    if difference > TOLERANCE:
        raise _Unfit(f"gives wrong numbers (a probability is off by {difference:.2g}, {TOLERANCE} is allowed)")

    def on_the_cpu() -> dict[str, Network]:
        return {part: runtime.open(content, threads, CPU_PROVIDER, {}) for part, content in contents.items()}

    engine = _Engine(name, networks, on_the_cpu)
    drop, chops = (_Part(engine, part, content) for part, content in contents.items())
    return Model(model.spec, model.reference.sha256, drop, chops), difference


def _reason(error: BaseException) -> str:
    """The end of a long message: onnxruntime begins with a path and a signature in C++."""
    line = one_line(error, 10_000)
    return line if len(line) <= 200 else f"{type(error).__name__}: ...{line[-160:]}"


class _Engine:
    """The networks of a model on one provider until that fails, then all of them on the CPU."""

    def __init__(self, provider: str, networks: Mapping[str, Network], reopen: Callable[[], Mapping[str, Network]]) -> None:
        self._provider = provider
        self._fast: Mapping[str, Network] | None = networks
        self._slow: Mapping[str, Network] = {}
        self._reopen = reopen
        self._used: tuple[str, ...] = ()
        # One call at a time: DirectML allows no more, and one call keeps a GPU busy.
        self._lock = threading.Lock()

    @property
    def provider(self) -> str:
        return ", ".join(self._used) or self._provider

    def run(self, part: str, pixels: FloatImage) -> FloatArray:
        """The answer of one network, from the CPU where the provider fails. Raises what the CPU's session raises."""
        with self._lock:
            if self._fast is not None:
                try:
                    answer = self._fast[part](pixels)
                    why = None if np.isfinite(answer).all() else "its answer is not a number"
                except Exception as error:  # as in _tried
                    why = _reason(error)
                if why is None:
                    self._used = (self._provider,)
                    return answer
                self._slow, self._fast = self._reopen(), None
                self._used = (*self._used, CPU_PROVIDER)
                log.warning("%s failed (%s): using the CPU from here on, nothing is lost", self._provider, why)
        return self._slow[part](pixels)


class _Part:
    """One network of an engine."""

    def __init__(self, engine: _Engine, part: str, content: bytes) -> None:
        self._engine, self._part, self.content = engine, part, content

    @property
    def provider(self) -> str:
        return self._engine.provider

    def __call__(self, pixels: FloatImage, /) -> FloatArray:
        return self._engine.run(self._part, pixels)
