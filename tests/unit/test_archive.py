"""Archives of executions: whole or not at all, with checksums, and put back over nothing that is newer."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daplug_supervisor.errors import BundleError
from daplug_supervisor.workspace import archive
from daplug_supervisor.workspace.archive import About, Manifest, Piece, Root

NOW = 1795224123.0
ABOUT = About("shop", "p-1", "finished", "/target")


def state(tmp_path: Path) -> Path:
    """A state directory with two attempts' files, a link and a pipe."""
    folder = tmp_path / "state"
    for path, text in (
        ("runs/p-1/a/1/bundle.json", "{}"),
        ("runs/p-1/a/1/stdout.log", "out"),
        ("journal.db", "J"),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "runs/p-1/a/1/link").symlink_to("/etc/passwd")
    (folder / "runs/p-1/a/way").symlink_to("/etc")
    os.mkfifo(folder / "runs/p-1/a/1/pipe")
    return folder


def pieces(folder: Path) -> Iterator[Piece]:
    for path in archive.files_below(folder / "runs/p-1"):
        yield Piece("state", f"runs/p-1/{path}", f"bundles/p-1/{path}")


def roots_of(folder: Path) -> dict[str, Path]:
    return {"state": folder}


def made(tmp_path: Path, **more: Any) -> tuple[Path, Path, Manifest]:
    folder = state(tmp_path)
    base = folder / "archive"
    given = {
        "pieces": pieces(folder),
        "roots": roots_of(folder),
        "made": {"state.json": b"{}"},
        "now": NOW,
        **more,
    }
    return folder, base, archive.make(base, ABOUT, **given)


def test_an_archive_has_the_files_and_a_manifest_with_checksums(tmp_path: Path) -> None:
    _, base, found = made(tmp_path)
    place = base / "shop" / "execution" / "20261121T012203Z"
    assert found.id == "shop/execution/20261121T012203Z"
    assert json.loads((place / "archive-manifest.json").read_text())["files"] == json.loads(
        json.dumps([{key: value for key, value in _row(one).items() if value} for one in found.files])
    )
    assert [one.path for one in found.files] == [
        "bundles/p-1/a/1/bundle.json", "bundles/p-1/a/1/stdout.log", "state.json",
    ]  # fmt: skip
    assert (place / "bundles/p-1/a/1/stdout.log").read_text() == "out"
    assert (found.run, found.state, found.target, found.size) == ("p-1", "finished", "/target", 7)
    assert place.stat().st_mode & 0o777 == 0o700
    assert (base / ".gitignore").read_text() == "*\n"
    assert archive.listing(base) == (found,)
    assert archive.listing(base, "shop") == (found,)
    assert archive.listing(base, "other") == ()
    assert archive.listing(tmp_path / "none") == ()


def _row(one: archive.Archived) -> dict[str, Any]:
    names = ("path", "size", "sha256", "changed_at", "root", "source")
    return {name: getattr(one, name) for name in names}


def test_two_of_the_same_second_are_two(tmp_path: Path) -> None:
    folder, base, first = made(tmp_path)
    second = archive.make(base, ABOUT, pieces(folder), roots_of(folder), {}, NOW)
    assert second.id == f"{first.id}-2"
    assert [one.id for one in archive.listing(base)] == [first.id, second.id]


def test_a_project_with_an_odd_name_is_refused(tmp_path: Path) -> None:
    for name in ("../x", "", "a/b", ".hidden"):
        with pytest.raises(BundleError, match="cannot be the name"):
            archive.make(tmp_path, About(name, "p-1", "finished", "/t"), [], {}, {}, NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 8:
            raise OSError(number, "no room")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="no room for the archive"):
        made(tmp_path)
    assert len(calls) == 8
    assert list((tmp_path / "state/archive/shop/execution").iterdir()) == []


def test_a_full_disk_in_the_midst_of_a_copy_is_no_file_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(archive, "_copied", full)
    with pytest.raises(BundleError, match="no room"):
        made(tmp_path)


def test_another_error_leaves_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "_copied", broken)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path)
    assert list((tmp_path / "state/archive/shop/execution").iterdir()) == []


def test_what_cannot_be_taken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = state(tmp_path)
    (folder / "runs/p-1/a/1/huge").write_bytes(b"x" * 200)
    monkeypatch.setattr(archive, "LARGEST", 100)
    gone = [
        *pieces(folder),
        Piece("state", "runs/p-1/gone", "gone"),
        Piece("state", "runs/p-1/a/1/link", "link"),
    ]
    found = archive.make(folder / "archive", ABOUT, gone, roots_of(folder), {}, NOW)
    assert len(found.files) == 2
    assert [one.partition(":")[0] for one in found.left_out] == [
        "runs/p-1/a/1/huge", "runs/p-1/gone", "runs/p-1/a/1/link",
    ]  # fmt: skip
    assert not (folder / "archive" / found.id / "link").exists()


def test_a_link_in_the_place_of_the_archive_is_not_followed(tmp_path: Path) -> None:
    folder = state(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (folder / "archive").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="directory|symbolic"):  # noqa: RUF043
        archive.make(folder / "archive", ABOUT, pieces(folder), roots_of(folder), {}, NOW)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_an_interrupted_one_has_left_is_removed_after_a_day(tmp_path: Path) -> None:
    folder, base, _ = made(tmp_path)
    left = [base / "shop" / "execution" / name for name in (".old.tmp", ".new.tmp")]
    for one, age in zip(left, (100_000, 10), strict=True):
        (one / "x").mkdir(parents=True)
        os.utime(one, (NOW - age, NOW - age))
    archive.make(base, ABOUT, pieces(folder), roots_of(folder), {}, NOW)
    assert [one.exists() for one in left] == [False, True]


def test_names_that_cannot_be_written_down_and_too_many_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff")).write_text("x")
    for name in "xyz":
        (tmp_path / "a" / name).write_text(name)
    assert list(archive.files_below(tmp_path / "a")) == ["x", "y", "z"]
    assert list(archive.files_below(tmp_path / "a", most=2)) == ["x", "y"]
    assert list(archive.files_below(tmp_path / "none")) == []


# --- putting back -------------------------------------------------------------------------------------------


def became(base: Path, found: Manifest, folder: Path, **more: Any) -> dict[str, str]:
    rows = archive.restore(base, found, roots_of(folder), **more)
    return {Path(row.to).name: row.became for row in rows}


def test_files_are_put_back_where_they_were(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    out = folder / "runs/p-1/a/1/stdout.log"
    before = out.stat().st_mtime
    out.unlink()
    assert became(base, found, folder, dry_run=True) == {"bundle.json": "same", "stdout.log": "restored"}
    assert not out.exists()
    assert became(base, found, folder) == {"bundle.json": "same", "stdout.log": "restored"}
    assert out.read_text() == "out"
    assert abs(out.stat().st_mtime - before) < 0.01
    assert became(base, found, folder) == {"bundle.json": "same", "stdout.log": "same"}


def test_a_directory_that_is_gone_comes_back_with_them(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    (folder / "runs").rename(folder / "away")
    assert set(became(base, found, folder, dry_run=True).values()) == {"restored"}
    assert not (folder / "runs").exists()
    assert set(became(base, found, folder).values()) == {"restored"}
    assert (folder / "runs/p-1/a/1/bundle.json").read_text() == "{}"


def test_what_is_newer_stays_and_what_is_older_is_replaced(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    new, old = folder / "runs/p-1/a/1/bundle.json", folder / "runs/p-1/a/1/stdout.log"
    new.write_text("new")
    os.utime(new, (NOW * 2, NOW * 2))
    old.write_text("old")
    os.utime(old, (5, 5))
    assert became(base, found, folder) == {"bundle.json": "newer", "stdout.log": "restored"}
    assert (new.read_text(), old.read_text()) == ("new", "out")


def test_what_was_damaged_is_not_put_back(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    for path in ("bundle.json", "stdout.log"):
        (folder / "runs/p-1/a/1" / path).unlink()
    kept = base / found.id / "bundles/p-1/a/1"
    (kept / "bundle.json").write_text("[]")
    (kept / "stdout.log").unlink()
    assert became(base, found, folder) == {"bundle.json": "damaged", "stdout.log": "damaged"}
    (kept / "stdout.log").symlink_to("/etc/passwd")
    assert became(base, found, folder)["stdout.log"] == "damaged"
    assert not (folder / "runs/p-1/a/1/stdout.log").exists()


def test_nothing_is_put_back_through_a_link_or_over_something_else(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in ("bundle.json", "stdout.log"):
        (folder / "runs/p-1/a/1" / name).unlink()
    (folder / "runs/p-1/a/1/bundle.json").symlink_to(tmp_path / "elsewhere" / "x")
    (folder / "runs/p-1/a/1/stdout.log").mkdir()
    assert set(became(base, found, folder).values()) == {"refused"}
    (folder / "runs/p-1/a").rename(folder / "away")
    (folder / "runs/p-1/a").symlink_to(tmp_path / "elsewhere")
    assert set(became(base, found, folder).values()) == {"refused"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("root", "source"),
    [
        ("state", "journal.db"), ("state", "runs/../journal.db"), ("state", "/etc/x"), ("tasker", "tasks/T001.json"),
        ("tasker", "state.json.x"), ("state", "supervisor.log.d/x"), ("state", "runs//x"),
    ],
)  # fmt: skip
def test_a_forged_manifest_puts_nothing_where_it_does_not_belong(
    tmp_path: Path, root: Root, source: str
) -> None:
    folder, base, found = made(tmp_path)
    forged = archive.Archived("state.json", 2, found.files[2].sha256, NOW * 2, root, source)
    rows = archive.restore(
        base, Manifest(**{**_fields(found), "files": (forged,)}), {"state": folder, "tasker": folder}
    )
    assert [row.became for row in rows] == ["refused"]
    assert (folder / "journal.db").read_text() == "J"


def _fields(found: Manifest) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Manifest.__struct_fields__}


def test_a_file_of_no_known_place_is_refused(tmp_path: Path) -> None:
    _, base, found = made(tmp_path)
    assert {row.became for row in archive.restore(base, found, {})} == {"refused"}


def test_no_leave_to_put_it_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, base, found = made(tmp_path)
    (folder / "runs/p-1/a/1/stdout.log").unlink()

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no leave")

    monkeypatch.setattr(archive, "write_atomically", refused)
    with pytest.raises(PermissionError):
        became(base, found, folder)


def test_what_cannot_be_compared_is_not_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, base, found = made(tmp_path)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no leave")

    monkeypatch.setattr(archive, "open_output", refused)
    assert archive._same(folder / "runs/p-1/a/1/stdout.log", "") is False
    del base, found


def test_what_only_looks_like_an_archive_is_none(tmp_path: Path) -> None:
    folder, base, found = made(tmp_path)
    for name in ("20261121T012204Z", "20261121T012205Z", "20261121T012206Z", "notes"):
        (base / "shop" / "execution" / name).mkdir()
    (base / "shop" / "execution" / "20261121T012205Z" / "archive-manifest.json").write_text("{")
    copy = (base / found.id / "archive-manifest.json").read_text()
    (base / "shop" / "execution" / "20261121T012206Z" / "archive-manifest.json").write_text(copy)
    assert archive.listing(base) == (found,)
    del folder
