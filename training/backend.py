"""What Keras computes with: TensorFlow, or another backend that ``KERAS_BACKEND`` names, and in which precision."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from client_app.errors import one_line
from crystal_search.errors import SettingsError
from crystal_search.extras import missing

BACKENDS = ("tensorflow", "torch", "jax")
PRECISIONS = ("float32", "mixed_bfloat16")
_VARIABLE = "KERAS_BACKEND"


def choose_backend() -> str:
    """Imports Keras on the backend that the environment, or else Keras's own settings file, names; returns its name.

    Raises ``SettingsError`` with one line where that backend is unknown, can not train, or is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wanted = os.environ.get(_VARIABLE, "")
    if wanted and wanted not in BACKENDS:
        raise SettingsError(f"{_VARIABLE}={wanted}: unknown backend, known are {', '.join(BACKENDS)}")
    if wanted and importlib.util.find_spec(wanted) is None:
        raise SettingsError(
            f"{_VARIABLE}={wanted}: {wanted} is not installed: pip install {wanted}, or leave {_VARIABLE} out for TensorFlow"
        )
    try:
        import keras
    except (ImportError, ValueError) as error:
        raise missing("training", f"Keras and TensorFlow ({one_line(error)})") from error
    name = str(keras.backend.backend())
    if name not in BACKENDS:
        raise SettingsError(f"Keras is set to the backend {name}, which can not train: {_VARIABLE} may be {', '.join(BACKENDS)}")
    return name


def start(seed: int, *, compiled: bool = False) -> str:
    """Chooses the backend and makes what it computes repeatable; returns its name.

    On TensorFlow two trainings with one seed agree to the last bit on one machine with one number of cores; torch is asked for the
    same on processors, and JAX does so on processors by itself. ``compiled`` is for networks that XLA shall compile: it excludes
    TensorFlow's own switch, and on processors what it compiles is repeatable anyway. Raises ``SettingsError``.
    """
    name = choose_backend()
    import keras

    keras.utils.set_random_seed(seed)
    if name == "tensorflow":
        import tensorflow

        if not compiled or tensorflow.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # in use already, as in a notebook
                tensorflow.config.experimental.enable_op_determinism()
    elif name == "torch":
        torch: Any = importlib.import_module("torch")
        # On a graphics card it would pad in a way that can not be exported (decision 0035).
        torch.use_deterministic_algorithms(not torch.cuda.is_available(), warn_only=True)
    return name


def compiles(model: Any) -> bool:
    """Whether XLA shall compile the network's steps as a whole: on TensorFlow where nothing excludes it; else Keras decides."""
    if choose_backend() != "tensorflow":
        return False
    from keras.src.trainers.trainer import model_supports_jit

    return bool(model_supports_jit(model))


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Networks built within the block compute in this precision; their weights are float32 in any case."""
    import keras

    before: Any = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def in_full_precision() -> Iterator[None]:
    """Networks compute in float32 proper within the block: graphics cards otherwise round what they multiply to ten bits (TF32)."""
    import keras

    name = str(keras.backend.backend())
    if name == "tensorflow":
        settings: Any = importlib.import_module("tensorflow").config.experimental
        before = settings.tensor_float_32_execution_enabled()
        settings.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            settings.enable_tensor_float_32_execution(before)
    elif name == "torch":
        cards: Any = importlib.import_module("torch").backends
        kept = cards.cudnn.allow_tf32, cards.cuda.matmul.allow_tf32
        cards.cudnn.allow_tf32 = cards.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            cards.cudnn.allow_tf32, cards.cuda.matmul.allow_tf32 = kept
    else:
        yield
