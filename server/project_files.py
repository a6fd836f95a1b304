"""Somebody else's project folder: what is read from it, what is to be written, and nothing written before everything is known."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from crystal_search.atomic import PARTIAL_SUFFIX, sync_folder
from crystal_search.errors import CrystalSearchError, UsageError
from server.xml_text import XmlError, parse

#: A copy of a file of the admin as it was before our first change to it.
BACKUP_SUFFIX = ".before_crystal_search"


@dataclass
class ProjectFiles:
    """The files of a BOINC project; changes are collected and made by ``write``. Paths are relative to the project."""

    folder: Path
    _changes: dict[str, bytes | None] = field(default_factory=dict)
    _executable: set[str] = field(default_factory=set)

    def read(self, name: str) -> bytes | None:
        """A file's content with all changes so far; None when it is not there."""
        if name in self._changes:
            return self._changes[name]
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CrystalSearchError(
                f"{self.folder / name}: can not be read ({error.strerror}); run the command as the project's user"
            ) from error

    def put(self, name: str, content: bytes | None, executable: bool = False) -> bool:
        """Note that a file shall have this content, or be deleted (None); whether that is a change."""
        if self.read(name) == content:
            return False
        self._changes[name] = content
        if executable:
            self._executable.add(name)
        return True

    def edit(self, name: str, content: bytes) -> None:
        """Change a file that is the admin's: what it was before our first change stays beside it."""
        before = self.read(name)
        if before is not None and before != content and self.read(name + BACKUP_SUFFIX) is None:
            self._changes[name + BACKUP_SUFFIX] = before
        self.put(name, content)

    def write(self, record: str) -> None:
        """Make all changes, each file in one step; the file ``record`` is there before the first one and gone after the last one.

        So whoever is killed in between finds out at the next call what is ours.
        """
        for name, content in sorted(self._changes.items(), key=lambda change: (change[0] == record) == (change[1] is None)):
            path = self.folder / name
            if content is None:
                _delete(path)
            else:
                like = self.folder / name.removesuffix(BACKUP_SUFFIX)
                _replace(path.resolve(), content, like, name in self._executable)


def open_project(folder: Path) -> ProjectFiles:
    """The files of the project in ``folder``. Raises ``UsageError`` with one line when that is no BOINC project."""
    why = "give the folder that BOINC's make_project made"
    try:
        content = (folder / "config.xml").read_bytes()
        root = parse(content, "config.xml")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder}: not a BOINC project, it has no config.xml: {why}") from None
    except XmlError as error:
        raise UsageError(f"{folder}: {error}") from error
    except OSError as error:
        raise UsageError(f"{folder}: config.xml can not be read ({error.strerror})") from error
    config = root.first("config")
    if root.name != "boinc" or config is None or root.first("daemons") is None or config.value("upload_dir") is None:
        raise UsageError(f"{folder}: not a BOINC project, its config.xml lacks <boinc> with <config> and <daemons>: {why}")
    for needed in ("bin", "templates"):
        if not (folder / needed).is_dir():
            raise UsageError(f"{folder}: not a BOINC project, it has no folder {needed}/: {why}")
    return ProjectFiles(folder)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CrystalSearchError(f"{path}: can not be deleted ({error.strerror}); run the command again as the project's user") from error


def _replace(path: Path, content: bytes, like: Path, executable: bool) -> None:
    """Write a file in one step with the rights of ``like``: config.xml holds the database's password."""
    try:
        before = like.stat()
    except FileNotFoundError:
        before = None
    mode = before.st_mode & 0o777 if before else 0o644
    if executable:
        mode |= 0o755
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if before and os.geteuid() == 0:
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CrystalSearchError(f"{path}: can not be written ({error.strerror}); run the command again as the project's user") from error
