"""Which model is taken: the one that is named, the one that a work unit asks for, the default one."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_model import write_model

from client_app import executable, model_folders
from client_app.executable import FORGET_AFTER_DAYS, STAMP, executable_folders, forget_unused
from client_app.model import load_model
from client_app.model_folders import DEFAULT_MODEL, default_model_folder, model_folder_for
from crystal_search.archives import ModelReference

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "synthetic-2"


@pytest.fixture(autouse=True)
def _nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRYSTAL_SEARCH_MODEL", raising=False)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an executable."""
    monkeypatch.setattr(model_folders, "executable_folders", lambda: (tmp_path,))
    return tmp_path


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch, beside: Path) -> None:
    monkeypatch.setenv("CRYSTAL_SEARCH_MODEL", "named")
    asked = load_model(write_model(beside / "models" / "next")).reference
    assert default_model_folder() == model_folder_for(asked) == Path("named")


def test_without_it_the_model_beside_the_packages_is_taken() -> None:
    assert default_model_folder() == SHIPPED


def test_a_model_beside_the_executable_goes_before_the_one_that_came_along(beside: Path) -> None:
    (beside / "models" / DEFAULT_MODEL).mkdir(parents=True)
    assert default_model_folder() == SHIPPED, "an empty folder is no model"
    model = write_model(beside / "models" / DEFAULT_MODEL)
    assert default_model_folder() == model


def test_a_work_unit_gets_the_model_that_it_asks_for_whatever_its_folder_is_called(beside: Path) -> None:
    write_model(beside / "models" / "a", threshold="0.7")
    (beside / "models" / "a file").write_bytes(b"")
    model = write_model(beside / "models" / "b")
    assert model_folder_for(load_model(model).reference) == model
    assert model_folder_for(load_model(SHIPPED).reference) == SHIPPED


def test_a_model_that_is_not_here_leaves_the_default_one_to_be_refused(beside: Path) -> None:
    assert model_folder_for(ModelReference(name="elsewhere", sha256="0" * 64)) == SHIPPED


def test_a_checkout_has_no_executable() -> None:
    assert executable_folders() == ()


def test_the_folder_of_the_link_goes_before_the_folder_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, slot = tmp_path / "project", tmp_path / "slot"
    project.mkdir()
    slot.mkdir()
    (project / "client").write_bytes(b"")
    (project / "client").chmod(0o755)
    (slot / "link").symlink_to(project / "client")
    compiled = SimpleNamespace(containing_dir=str(project), original_argv0="slot/link")
    monkeypatch.setattr(executable, "__compiled__", compiled, raising=False)
    monkeypatch.chdir(tmp_path)
    assert executable_folders() == (slot, project)
    compiled.original_argv0 = "link"
    monkeypatch.setenv("PATH", str(slot))
    assert executable_folders() == (slot, project)
    compiled.original_argv0 = "a name that nothing has"
    assert executable_folders() == (project,)


def test_builds_that_were_not_started_for_a_month_are_forgotten(tmp_path: Path) -> None:
    cache, now, day = tmp_path / "crystal-search-client", 1.8e9, 24 * 3600
    for name in ("own", "old", "recent", "unpacking", "abandoned"):
        (cache / name).mkdir(parents=True)
    for name, days in (("old", FORGET_AFTER_DAYS + 1), ("recent", FORGET_AFTER_DAYS - 1)):
        (cache / name / STAMP).touch()
        os.utime(cache / name / STAMP, (now - days * day,) * 2)
    os.utime(cache / "unpacking", (now - 1,) * 2)
    os.utime(cache / "abandoned", (now - (FORGET_AFTER_DAYS + 1) * day,) * 2)
    (cache / "unpacking.lock").touch()
    os.utime(cache / "unpacking.lock", (now - 100 * day,) * 2)
    forget_unused(cache / "own", now)
    assert sorted(path.name for path in cache.iterdir()) == ["own", "recent", "unpacking", "unpacking.lock"]
    assert (cache / "own" / STAMP).stat().st_mtime == now


def test_nothing_is_deleted_outside_the_cache(tmp_path: Path) -> None:
    for name in ("own", "somebody else's"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    forget_unused(tmp_path / "own", 1.8e9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "somebody else's"]
    assert list((tmp_path / "own").iterdir()) == []
