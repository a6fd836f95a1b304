"""``crystal-search settings``: the whole settings file with its defaults, each key under its description."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from crystal_search.settings import Search, Settings


@click.command()
def settings() -> None:
    """Print a settings file with every key, its default and what it means."""
    click.echo(template(), nl=False)


def template() -> str:
    """Valid TOML that says what the defaults say; keys without a default stand in it as comments."""
    lines = ["# crystal-search.toml: every key is optional; relative paths are relative to this file."]
    for name, field in Settings.model_fields.items():
        section = Search if name == "search" else field.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        header = f"[[{name}]]" if name == "search" else f"[{name}]"
        lines += ["", *(f"# {line}" for line in (section.__doc__ or "").strip().splitlines()), header]
        for key, value in section.model_fields.items():
            lines += [f"# {value.description}", _entry(name, key, value)]
    return "\n".join(lines) + "\n"


def _entry(section: str, key: str, field: FieldInfo) -> str:
    if (section, key) == ("search", "name"):
        return 'name = "everything unscored"'
    default = field.get_default(call_default_factory=True, validated_data={})
    if (section, key) == ("grid", "workers") and default == os.cpu_count():
        return "# workers = 4  # default: as many as this machine has processors"
    return f"# {key} =" if default is None else f"{key} = {_toml(default)}"


def _toml(value: Any) -> str:
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
