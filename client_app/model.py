"""A model folder: ``model.toml`` and the networks that it names, checked before anything is scored with them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from client_app.errors import one_line
from client_app.model_folders import MODEL_TOML, MODEL_VARIABLE
from client_app.preprocess import FloatImage
from crystal_search.archives import ModelReference, Name, Probability, Sha256, sha256_hex
from crystal_search.classes import NAMES
from crystal_search.errors import SettingsError

CPU_PROVIDER = "CPUExecutionProvider"
DIRECTML_PROVIDER = "DmlExecutionProvider"

FloatArray = npt.NDArray[np.float32]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,79}\.onnx$")]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=10_000.0)]
#: Added to a logit: beyond these a class is chosen or shut out whatever the network says.
Bias = Annotated[float, msgspec.Meta(ge=-100.0, le=100.0)]

#: How onnxruntime's errors say so.
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


class DropSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The drop network (P7): pixels (N, side, side, 1) -> probabilities (N, side, side, 2) of drop and well."""

    file: FileName
    sha256: Sha256
    side: Annotated[int, msgspec.Meta(ge=8, le=1024)]
    threshold: Probability
    min_area: Probability


class ChopsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The chop network (P12): pixels (N, H, W, 1) -> class map of logits (N, h, w, 13); ``steps`` are those it may slide in.

    ``margin``: it was taught by what lies so many px inside of a window's edges, so windows reach so far beyond the drop.
    """

    file: FileName
    sha256: Sha256
    window: Pixels
    stride: Pixels
    receptive_field: Pixels
    step: Pixels
    steps: Annotated[tuple[Pixels, ...], msgspec.Meta(min_length=1)]
    margin: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    dense_exact: bool
    normalisation: Literal["percentile-92"]


class CalibrationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities are softmax(logits / ``temperature`` + ``bias``) on every path; ``bias`` has one number a class, or none at all."""

    temperature: Positive
    bias: tuple[Bias, ...] = ()


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What ``model.toml`` says to a client. Further tables (how it was trained, licences) are for people and are not read here."""

    format: Literal[1]
    name: Name
    classes: tuple[str, ...]
    threshold: Probability
    um_per_px: Positive
    image_width: Pixels
    scales: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1, max_length=16)]
    drop_types: tuple[str, ...]
    drop: DropSpec
    chops: ChopsSpec
    calibration: CalibrationSpec


class Network(Protocol):
    """Pixels in, an answer out: what is known of a network by those who use it."""

    @property
    def content(self) -> bytes:
        """The ONNX file."""

    @property
    def provider(self) -> str:
        """onnxruntime's name of what computes, such as ``CPUExecutionProvider``; several, in order of use, with a comma between."""

    def __call__(self, pixels: FloatImage, /) -> FloatArray:
        """The first output for ``pixels``, float32 (N, H, W, 1). Raises whatever onnxruntime raises."""


class Session:
    """One ONNX file, opened on one of onnxruntime's execution providers."""

    def __init__(self, content: bytes, threads: int, provider: str = CPU_PROVIDER, details: Mapping[str, str] | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # an error is raised, and needs no second line
        # A volunteer's computer has other work to do than to wait in a loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if provider == DIRECTML_PROVIDER:  # which can not work with it
            options.enable_mem_pattern = False
        self.content = content
        # Without its own fallback onnxruntime says why a provider fails, instead of going on elsewhere with a word on standard output.
        self._session = onnxruntime.InferenceSession(content, options, providers=[(provider, dict(details or {}))], enable_fallback=0)
        (self._input,) = (tensor.name for tensor in self._session.get_inputs())

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0])

    def __call__(self, pixels: FloatImage, /) -> FloatArray:
        try:
            answer: FloatArray = self._session.run(None, {self._input: pixels})[0]
        except Exception as error:
            if any(words in str(error) for words in _OUT_OF_MEMORY):
                raise MemoryError from error
            raise
        return answer


class Model:
    """A loaded model folder; use ``load_model``. Safe to share between threads."""

    def __init__(self, spec: ModelSpec, sha256: str, drop: Network, chops: Network) -> None:
        self.spec = spec
        self.reference = ModelReference(name=spec.name, sha256=sha256)
        self.drop = drop
        self.chops = chops

    @property
    def runtime(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    @property
    def provider(self) -> str:
        return self.chops.provider

    def step(self, wanted: int | None) -> int:
        """The step in px at the working resolution: ``wanted``, or the model's own where that is None.

        Raises ``SettingsError`` for a step that the model does not allow.
        """
        if wanted is None:
            return self.spec.chops.step
        if wanted not in self.spec.chops.steps:
            allowed = ", ".join(map(str, self.spec.chops.steps))
            raise SettingsError(f"model {self.spec.name} does not work in steps of {wanted} px: choose one of {allowed}")
        return wanted


def load_model(folder: Path, threads: int = 1) -> Model:
    """Load and check a model folder; its networks run on ``threads`` threads each.

    A model is known by its name and by the SHA-256 of its ``model.toml``, which holds the SHA-256 of every network. Raises
    ``SettingsError`` with one line for a model that is missing, damaged, of another format or with classes in another order.
    """
    onnxruntime.set_default_logger_severity(4)
    onnxruntime.disable_telemetry_events()
    try:
        text = (folder / MODEL_TOML).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"no model in {folder} ({MODEL_TOML}: {error.strerror}): name a model folder with --model or {MODEL_VARIABLE}"
        ) from error
    spec = read_spec(text, folder)
    drop = _network(folder, spec.drop.file, spec.drop.sha256, threads)
    chops = _network(folder, spec.chops.file, spec.chops.sha256, threads)
    _check_answer(folder / spec.drop.file, drop, spec.drop.side, (1, spec.drop.side, spec.drop.side, 2))
    map_side = (spec.chops.window - spec.chops.receptive_field) // spec.chops.stride + 1
    _check_answer(folder / spec.chops.file, chops, spec.chops.window, (1, map_side, map_side, len(NAMES)))
    return Model(spec, sha256_hex(text), drop, chops)


def read_spec(text: bytes, folder: Path) -> ModelSpec:
    """The content of a ``model.toml``, checked in itself; ``folder`` is for messages. Raises ``SettingsError``."""
    where = folder / MODEL_TOML
    try:
        spec = msgspec.convert(tomllib.loads(text.decode("utf-8")), ModelSpec)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:  # no UTF-8, no TOML, numbers or nests without end
        raise SettingsError(f"{where}: {error}: install this model again, or another one") from error
    if problem := _contradiction(spec):
        raise SettingsError(f"{where}: {problem}: install this model again, or another one")
    return spec


def _contradiction(spec: ModelSpec) -> str | None:
    """What in a ``model.toml`` does not fit together, or None."""
    chops, calibration = spec.chops, spec.calibration
    if spec.classes != NAMES:
        return f"its classes are not this program's {len(NAMES)} classes in their order"
    if len(calibration.bias) not in (0, len(NAMES)):
        return f"its calibration has a bias for {len(calibration.bias)} of {len(NAMES)} classes"
    if chops.step not in chops.steps:
        return f"step {chops.step} is not one of its steps {list(chops.steps)}"
    if max(chops.steps) > chops.window:
        return f"step {max(chops.steps)} is larger than the window of {chops.window} px and would leave gaps"
    if chops.receptive_field > chops.window:
        return f"the receptive field of {chops.receptive_field} px is larger than the window of {chops.window} px"
    if 2 * chops.margin >= chops.window:
        return f"a margin of {chops.margin} px leaves nothing of the window of {chops.window} px"
    if chops.dense_exact and any(step % chops.stride for step in chops.steps):
        return f"dense_exact needs steps that are multiples of the stride {chops.stride}"
    return None


def _network(folder: Path, file: str, sha256: str, threads: int) -> Session:
    """The network in ``file``; what is checked is what is loaded."""
    path = folder / file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}: install this model again") from error
    if sha256_hex(content) != sha256:
        raise SettingsError(
            f"{path} does not match its SHA-256 in {MODEL_TOML}: the file is damaged or was changed, install this model again"
        )
    try:
        return Session(content, threads)
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise SettingsError(f"{path} is not a network that this program can run ({one_line(error)}): install this model again") from error


def _check_answer(path: Path, network: Network, side: int, shape: tuple[int, ...]) -> None:
    """Run ``network`` once on empty pixels: a network that does not answer as ``model.toml`` says would fail every image."""
    try:
        answer = network(np.zeros((1, side, side, 1), dtype=np.float32))
    except Exception as error:  # as above
        raise SettingsError(f"{path} fails on {side} x {side} px ({one_line(error)}): install this model again") from error
    if answer.shape != shape:
        raise SettingsError(f"{path} answers with shape {answer.shape} instead of {shape}: install this model again")
