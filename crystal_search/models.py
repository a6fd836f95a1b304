"""Model folders: which one is asked for, by name and by the SHA-256 of its ``model.toml``. What is in them is the client's."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from crystal_search.archives import ModelReference, Sha256, sha256_hex
from crystal_search.errors import SettingsError

#: The model that ships, beside the packages.
DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "synthetic-2"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder; ``sha256`` is that of its ``model.toml``, which holds the SHA-256 of every file."""

    name: str
    sha256: str
    path: Path


def default_model() -> ModelFolder:
    """The model that ships. Raises ``SettingsError`` when it is not there."""
    return find_model(None)


def find_model(path: Path | None) -> ModelFolder:
    """The model of a folder (``settings.scoring.model``), the one that ships for None.

    Raises ``SettingsError`` with one line when the folder holds no readable ``model.toml`` with a name.
    """
    folder = path or DEFAULT_MODEL
    what = f"scoring.model: {folder / 'model.toml'}"
    try:
        content = (folder / "model.toml").read_bytes()
        name = tomllib.loads(content.decode()).get("name")
        reference = msgspec.convert({"name": name, "sha256": sha256_hex(content)}, ModelReference)
    except OSError as error:
        raise SettingsError(f"{what}: no model can be read there ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{what}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"{what}: 'name' is not the name of a model") from error
    return ModelFolder(reference.name, reference.sha256, folder)


class _Network(msgspec.Struct):
    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,79}$")]
    sha256: Sha256


class _Chops(_Network):
    steps: tuple[int, ...]


class _Threshold(msgspec.Struct):
    threshold: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


def model_threshold(model: ModelFolder) -> float:
    """The threshold (P16) that a model brings along. Raises ``SettingsError`` with one line when it brings none."""
    path = model.path / "model.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Threshold).threshold
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"scoring.model: {path}: {error}: install this model again, or another one") from error


class _Networks(msgspec.Struct):
    """What of a ``model.toml`` is looked at here."""

    drop: _Network
    chops: _Chops


def check_model(model: ModelFolder, step: int | None) -> None:
    """Before work goes out: the model's files are those that its ``model.toml`` names, and it works in that step.

    Raises ``SettingsError`` with one line. Whether the networks run is for the client to find out.
    """
    where = f"scoring.model: {model.path / 'model.toml'}"
    try:
        networks = msgspec.convert(tomllib.loads((model.path / "model.toml").read_text(encoding="utf-8")), _Networks)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{where}: {error}: install this model again, or another one") from error
    for network in (networks.drop, networks.chops):
        path = model.path / network.file
        try:
            right = sha256_hex(path.read_bytes()) == network.sha256
        except OSError as error:
            raise SettingsError(f"scoring.model: {path}: {error.strerror}: install this model again") from error
        if not right:
            raise SettingsError(f"scoring.model: {path} does not match its SHA-256 in model.toml: install this model again")
    if step is not None and step not in networks.chops.steps:
        allowed = ", ".join(map(str, networks.chops.steps))
        raise SettingsError(f"scoring.step: model {model.name} does not work in steps of {step} px: choose one of {allowed}")
