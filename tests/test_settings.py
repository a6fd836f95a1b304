"""One settings file: every mistake is one line that names its key; nothing of it reaches a database as SQL."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from crystal_search.errors import EXIT_SETTINGS, SettingsError
from crystal_search.settings import FILE_VARIABLE, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.delenv("CRYSTAL_SEARCH_LEDGER_URL", raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "crystal-search.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(folder, text))
    assert caught.value.exit_code == EXIT_SETTINGS == 3
    return str(caught.value).splitlines()


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.paths.images == tmp_path / "images"
    assert settings.ledger_url == f"sqlite:///{tmp_path}/crystal-search-state/ledger.sqlite"
    assert (settings.xtaltrak.dialect, settings.xtaltrak.scorer, settings.grid.kind) == ("sqlite", "ARTscore", "local")
    assert [search.name for search in settings.search] == ["everything unscored"]


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, '[paths]\nimages = "../pictures"\n[scoring]\nmodel = "ours"\n[xtaltrak]\ndatabase = "/srv/x.sqlite"\n')
    monkeypatch.chdir("/")
    settings = load_settings(path)
    assert settings.paths.images.resolve() == tmp_path.parent / "pictures"
    assert settings.scoring.model == tmp_path / "ours"
    assert settings.xtaltrak.database == Path("/srv/x.sqlite")


def test_the_environment_names_the_file_and_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(written(tmp_path, '[ledger]\nurl = "sqlite:////file"\n')))
    assert load_settings().ledger_url == "sqlite:////file"
    monkeypatch.setenv("CRYSTAL_SEARCH_LEDGER_URL", "postgresql://user:secret@host/ledger")
    assert load_settings().ledger_url == "postgresql://user:secret@host/ledger"


def test_a_search_pattern(tmp_path: Path) -> None:
    text = '[[search]]\nname = "new"\nprofiles = ["HF"]\nbarcode = "CI*"\ntaken_from = 2024-01-31\nimagers = [222]\npriority = "realtime"\n'
    (search,) = load_settings(written(tmp_path, text)).search
    assert (search.taken_from, search.taken_to, search.only_unscored) == (date(2024, 1, 31), None, True)


def test_each_mistake_is_one_line_with_its_key(tmp_path: Path) -> None:
    lines = mistakes(
        tmp_path,
        '[generator]\nimages_per_work_unit = 65\npage = 0\npoll_seconds = "soon"\n'
        '[scoring]\nthreshold = 1.5\noverlays = ["everything"]\n'
        '[finalizer]\nprotect = "nobody"\nrows_per_transaction = 501\n'
        "[[search]]\n",
    )
    keys = [line.split(": ")[1] for line in lines]
    assert sorted(keys) == [
        "finalizer.protect",
        "finalizer.rows_per_transaction",
        "generator.images_per_work_unit",
        "generator.page",
        "generator.poll_seconds",
        "scoring.overlays.0",
        "scoring.threshold",
        "search.0.name",
    ]


@pytest.mark.parametrize("text", ["[paths]\nimage = 'x'\n", "[path]\n", "[[search]]\nname = 'x'\nbarcodes = '*'\n", "x = 1\n"])
def test_an_unknown_key_is_a_mistake(tmp_path: Path, text: str) -> None:
    (line,) = mistakes(tmp_path, text)
    assert "unknown key" in line


def test_one_bracket_too_few_is_explained(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "[search]\nname = 'x'\n")
    assert "[[search]]" in line


def test_days_the_wrong_way_round_are_a_mistake(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "[[search]]\nname = 'x'\ntaken_from = 2026-02-01\ntaken_to = 2026-01-01\n")
    assert "taken_from is after taken_to" in line


@pytest.mark.parametrize(
    "name",
    [
        "I_SCORES; DROP TABLE PLATES",
        "I_SCORES--",
        '"I_SCORES"',
        "i_scores",
        "I SCORES",
        "1SCORES",
        "A" * 31,
        "A.B.C",
        ".A",
        "A.",
        "SCORES\n",
        "ÄRGER",
        "",
    ],
)
def test_an_injected_database_name_is_refused(tmp_path: Path, name: str) -> None:
    for mapping in ({"I_SCORES": name}, {name: "I_SCORES"}):
        (key, value), *_ = mapping.items()
        text = "[xtaltrak.names]\n" + f"{_toml(key)} = {_toml(value)}\n"
        (line,) = mistakes(tmp_path, text)
        assert "is not a database name" in line


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@pytest.mark.parametrize("name", ["CRYSTAL.I_SCORES", "A" * 30, "V$X", "X#1", "CRYSTAL." + "A" * 30])
def test_database_names_of_other_sites(tmp_path: Path, name: str) -> None:
    settings = load_settings(written(tmp_path, f'[xtaltrak.names]\nI_SCORES = "{name}"\n'))
    assert settings.xtaltrak.names == {"I_SCORES": name}


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can not be read"):
        load_settings(tmp_path)


@pytest.mark.parametrize("content", [b"[paths\n", b"x = \n", b"\xff\xfe"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "crystal-search.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(path)


def test_a_mistake_in_a_named_file_is_not_hidden_by_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "gone.toml"))
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings()
