"""`crystal-search settings`: what it prints is what the defaults are, and the reference in docs/ is not stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crystal_search.settings import load_settings
from crystal_search.settings_template import template


def test_the_printed_file_says_what_the_defaults_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = load_settings()
    file = tmp_path / "crystal-search.toml"
    file.write_text(template())
    assert load_settings(file) == defaults


def test_the_reference_in_docs_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    reference = Path(__file__).parents[1] / "docs" / "reference" / "crystal-search.toml"
    assert reference.read_text() == template(), "run: crystal-search settings > docs/reference/crystal-search.toml"
