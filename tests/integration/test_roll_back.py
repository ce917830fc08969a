"""Files of a shared checkout put back as they were before an attempt, against real git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from landings import copied, identified, odd
from repositories import commit, git, new_repository, reachable, snapshots

from daplug_supervisor.workspace.git import messages
from daplug_supervisor.workspace.git.marks import Marks, differences, forget, marks
from daplug_supervisor.workspace.git.rollback import NotRestoredError, RolledBack, roll_back


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return copied(several, tmp_path / "a repo")


def several(folder: Path) -> Path:
    found = identified(new_repository(folder))
    commit(found, ".gitignore", "ignored\n")
    for name in ("deep/er/kept", "deep/er/gone", "run"):
        commit(found, name, f"{name}\n")
    (found / "run").chmod(0o755)
    (found / "link").symlink_to("file")
    git(found, "add", "-A")
    git(found, "commit", "-qm", "more")
    return found


def picture(folder: Path) -> dict[str, tuple[object, ...]]:
    """All files of a checkout, byte by byte."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not name.startswith(".git/") and name != ".git":
            if path.is_symlink():
                found[name] = ("link", os.readlink(path))  # noqa: PTH115
            elif path.is_file():
                found[name] = (path.stat().st_mode, path.read_bytes())
    return found


def changed(repository: Path) -> None:
    """What an attempt does."""
    (repository / "file").write_text("by the attempt\n")
    (repository / "untracked").write_text("changed\n")
    (repository / "run").chmod(0o644)
    (repository / "link").unlink()
    (repository / "link").symlink_to("/etc/passwd")
    (repository / "deep" / "er" / "gone").unlink()
    (repository / "deep" / "er" / "gone").mkdir()
    (repository / "deep" / "er" / "gone" / "inner").write_text("new\n")
    (repository / "new" / "folder").mkdir(parents=True)
    (repository / "new" / "folder" / "x").write_text("new\n")
    (repository / "new" / "folder" / "staged").write_text("new\n")
    git(repository, "add", "new/folder/staged", "file")


ALL = (
    "deep/er/gone", "deep/er/gone/inner", "file", "link", "new/folder/staged", "new/folder/x", "run", "untracked",
)  # fmt: skip


def test_what_differs_is_told(repository: Path) -> None:
    (repository / "untracked").write_text("mine\n")
    before = marks(repository, "p-1-a")
    assert differences(repository, before) == ()
    changed(repository)
    (repository / "ignored").write_text("x\n")
    (repository / "TASK.md").write_text("x\n")
    (repository / ".daplug").mkdir()
    (repository / ".daplug" / "x").write_text("x\n")
    assert differences(repository, before) == ALL
    git(repository, "commit", "-qam", "the agent's own")
    git(repository, "update-index", "--assume-unchanged", "deep/er/kept")
    (repository / "deep" / "er" / "kept").write_text("hidden\n")
    assert differences(repository, before) == tuple(sorted((*ALL, "deep/er/kept")))
    assert differences(repository / "new", before) == ("new/folder/staged", "new/folder/x")
    forget(repository, before)
    forget(repository, before)
    assert git(repository, "for-each-ref", "refs/daplug/marks") == ""


def test_all_of_it_is_put_back_and_saved_before(repository: Path) -> None:
    (repository / "untracked").write_bytes(b"mine\r\nmixed\n\xff")
    (repository / "staged").write_text("staged\n")
    git(repository, "add", "staged")
    status, was = git(repository, "status", "--porcelain"), picture(repository)
    before = marks(repository, "p-1-a")
    changed(repository)
    found = roll_back(repository, before, ALL, "p-1-a")
    assert picture(repository) == was
    assert not (repository / "new").exists()
    assert git(repository, "status", "--porcelain") == status
    assert found == RolledBack(
        "refs/daplug/snapshots/p-1-a/1",
        ("deep/er/gone/inner", "new/folder/staged", "new/folder/x"),
        ("deep/er/gone", "file", "link", "run", "untracked"),
    )
    assert git(repository, "show", f"{found.ref}:file") == "by the attempt"
    assert git(repository, "show", f"{found.ref}:untracked") == "changed"
    assert reachable(repository, "new")
    assert roll_back(repository, before, ALL, "p-1-a") == found, "done again"
    assert snapshots(repository) == [found.ref]
    assert git(repository, "fsck", "--no-dangling") == ""


def test_nothing_else_is_touched(repository: Path) -> None:
    before = marks(repository, "p-1-a")
    changed(repository)
    (repository / "untracked").write_text("another task's\n")
    was = picture(repository)
    git(repository, "add", "untracked")
    found = roll_back(repository, before, ["file", "new/folder/x", "deep/er/kept", "../outside"], "p-1-a")
    assert (found.deleted, found.restored) == (("new/folder/x",), ("file",))
    now = picture(repository)
    assert set(was) - set(now) == {"new/folder/x"}
    assert [name for name in now if now[name] != was[name]] == ["file"]
    assert "A  untracked" in git(repository, "status", "--porcelain")
    assert roll_back(repository, before, [], "p-1-b") == RolledBack("")


def test_work_that_came_after_the_snapshot_is_saved_as_well(repository: Path) -> None:
    before = marks(repository, "p-1-a")
    (repository / "file").write_text("first\n")
    first = roll_back(repository, before, ["file"], "p-1-a")
    (repository / "file").write_text("second\n")
    second = roll_back(repository, before, ["file"], "p-1-a")
    assert (first.ref[-2:], second.ref[-2:]) == ("/1", "/2")
    assert reachable(repository, "second")
    assert (repository / "file").read_text() == "one\n"


def test_no_link_is_followed(repository: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("not ours\n")
    before = marks(repository, "p-1-a")
    for name in ("kept", "gone"):
        (repository / "deep" / "er" / name).unlink()
    (repository / "deep" / "er").rmdir()
    (repository / "deep" / "er").symlink_to(outside)
    names = ["deep/er", "deep/er/kept", "deep/er/gone"]
    assert differences(repository, before) == ("deep/er", "deep/er/gone", "deep/er/kept")
    with pytest.raises(NotRestoredError, match="cannot be put back"):
        roll_back(repository, before, names[1:], "p-1-a")
    assert (outside / "kept").read_text() == "not ours\n"
    assert [path.name for path in outside.iterdir()] == ["kept"]
    roll_back(repository, before, names, "p-1-a")
    assert (repository / "deep" / "er" / "kept").read_text() == "deep/er/kept\n"
    assert (outside / "kept").read_text() == "not ours\n"


def test_what_is_in_the_way_is_not_removed(repository: Path) -> None:
    before = marks(repository, "p-1-a")
    (repository / "file").unlink()
    (repository / "file").mkdir()
    (repository / "file" / "ignored").write_text("not in the snapshot\n")
    with pytest.raises(NotRestoredError, match="file cannot be put back"):
        roll_back(repository, before, ["file"], "p-1-a")
    assert (repository / "file" / "ignored").exists()
    assert list(repository.glob(".daplug.*")) == []


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.safecrlf=true", "core.eol=crlf"])
def test_line_ends_come_back_as_they_were(repository: Path, setting: str) -> None:
    commit(repository, ".gitattributes", "* text=auto\n*.id ident\n*.u16 working-tree-encoding=UTF-16\n")
    git(repository, "config", *setting.split("="))
    odd_ones = {
        "dos": b"a\r\nb\r\n",
        "mixed": b"a\r\nb\n",
        "unix": b"a\nb\n",
        "x.id": b"$Id: x$\n",
        "x.u16": b"\xff\xfea\0",
    }
    for name, data in odd_ones.items():
        (repository / name).write_bytes(data)
    before = marks(repository, "p-1-a")
    for name in odd_ones:
        (repository / name).write_bytes(b"by the attempt\r\n")
    roll_back(repository, before, list(odd_ones), "p-1-a")
    assert {name: (repository / name).read_bytes() for name in odd_ones} == odd_ones


def test_filters_of_the_repository_are_not_run(repository: Path, tmp_path: Path) -> None:
    commit(repository, ".gitattributes", "* filter=evil\n")
    for word in ("clean", "smudge", "process"):
        git(repository, "config", f"filter.evil.{word}", f"touch '{tmp_path}/ran'; cat")
    git(repository, "config", "core.fsmonitor", f"touch '{tmp_path}/ran'")
    before = marks(repository, "p-1-a")
    (repository / "file").write_text("by the attempt\n")
    assert roll_back(repository, before, differences(repository, before), "p-1-a").restored == ("file",)
    assert (repository / "file").read_text() == "one\n"
    assert not (tmp_path / "ran").exists()


def test_names_of_any_kind(repository: Path) -> None:
    names = (b"new\nline", b"-n", b'quo"te', b":(top)x", b"*", b"\xff\xfe", b"back\\slash", b"deep/-er/x")
    for name in names[:4]:
        (repository / odd(name)).write_text("mine\n")
    was = picture(repository)
    before = marks(repository, "p-1-a")
    for name in names:
        path = repository / odd(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("by the attempt\n")
    found = differences(repository, before)
    assert set(found) == {messages.shown(odd(name)) for name in names}
    back = roll_back(repository, before, found, "p-1-a")
    assert len(back.deleted) == len(back.restored) == 4
    assert picture(repository) == was


def test_repositories_inside_are_left_alone(repository: Path) -> None:
    new_repository(repository / "inner")
    git(repository, "init", "-q", "empty")
    before = marks(repository, "p-1-a")
    (repository / "inner" / "file").write_text("changed\n")
    commit(repository / "inner", "more", "x\n")
    (repository / "file").write_text("changed\n")
    assert differences(repository, before) == ("file",)


def test_before_the_first_commit_and_in_a_merge(tmp_path: Path) -> None:
    repository = tmp_path / "r"
    repository.mkdir()
    git(repository, "init", "-q")
    identified(repository)
    (repository / "mine").write_text("x\n")
    before = marks(repository, "p-1-a")
    assert (before.head, before.staged) == ("", "")
    (repository / "mine").unlink()
    (repository / "new").write_text("x\n")
    back = roll_back(repository, before, ["mine", "new"], "p-1-a")
    assert (back.deleted, back.restored) == (("new",), ("mine",))
    assert (repository / "mine").read_text() == "x\n"


def test_a_damaged_index_of_ours_is_made_anew(repository: Path) -> None:
    before = marks(repository, "p-1-a")
    [index] = (repository / ".git" / "daplug" / "bytes").glob("*/index")
    index.write_bytes(b"nonsense")
    (repository / "file").write_text("changed\n")
    assert differences(repository, before) == ("file",)
    assert Marks(before.ref, before.commit, before.head, before.staged) == before
