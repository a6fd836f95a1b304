"""Temporary files of killed programs go, those of living ones stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

from click.testing import CliRunner
from generator_lab import make_lab

from assimilator.cli import assimilate
from crystal_search.leftovers import sweep_partials
from work_generator.cli import work_generator


def leave(path: Path, hours: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    return path


def test_old_temporary_files_go(tmp_path: Path) -> None:
    old, deep = leave(tmp_path / ".a.zip.x1.part", 1.1), leave(tmp_path / "batch" / ".b.zip.x2.part", 30)
    stay = [leave(tmp_path / ".c.zip.x3.part", 0.9), leave(tmp_path / "d.zip", 30), leave(tmp_path / "e.part", 30)]
    (tmp_path / ".f.part").mkdir()
    assert sweep_partials(tmp_path, tmp_path / "not there") == 2
    assert not old.exists()
    assert not deep.exists()
    assert all(path.exists() for path in stay)


def test_services_sweep_at_their_start(tmp_path: Path) -> None:
    (tmp_path / "images" / "a folder").mkdir(parents=True)
    lab = make_lab(tmp_path, [])
    work_units = leave(lab.settings.work_units / ".wu.zip.x.part", 2)
    results = [leave(lab.settings.results / "batch" / ".wu.zip.x.part", 2), leave(lab.settings.refused / ".wu.zip.x.part", 2)]
    options = ["--settings", str(lab.settings_file), "--once"]
    assert CliRunner().invoke(work_generator, options, catch_exceptions=False).exit_code == 0
    assert not work_units.exists()
    assert all(path.exists() for path in results)
    assert CliRunner().invoke(assimilate, options, catch_exceptions=False).exit_code == 0
    assert not any(path.exists() for path in results)
