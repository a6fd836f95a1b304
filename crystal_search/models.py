"""Model folders: which one is asked for, by name and by the SHA-256 of its ``model.toml``. What is in them is the client's."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from crystal_search.archives import ModelReference, sha256_hex
from crystal_search.errors import SettingsError

#: The model that ships, beside the packages.
DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "synthetic-1"


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
