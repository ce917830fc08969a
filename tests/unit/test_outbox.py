"""The outbox of an attempt, in the way of agents that plant what they like in it and around it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from repositories import git, new_repository

from daplug_supervisor.workspace import bundles, outbox

TOKEN = "0123456789abcdef"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    found = tmp_path / "state"
    found.mkdir()
    return found


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    found = tmp_path / "work"
    found.mkdir()
    return found


def made(cwd: Path, state: Path, token: str = TOKEN) -> Path:
    return Path(outbox.make(str(cwd), token, state))


def test_it_is_made_where_the_attempt_works_and_for_nobody_else(cwd: Path, state: Path) -> None:
    path = made(cwd, state)
    assert path == cwd / ".daplug" / "outbox" / TOKEN
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, path.parents[1])] == [0o700] * 3
    (path / "old").touch()
    assert made(cwd, state) == path
    assert list(path.iterdir()) == [], "of an attempt that could not be started nothing is left"


def test_what_is_in_it_is_taken_and_then_nothing_is_left(cwd: Path, state: Path) -> None:
    path = made(cwd, state)
    with pytest.raises(FileNotFoundError):
        outbox.take(str(path), 10)
    (path / "result.json").write_bytes(b"0123456789abc")
    assert outbox.take(str(path), 10) == b"0123456789a"
    (path / "below").mkdir()
    (path / "below" / "x").touch()
    outbox.remove(str(path))
    assert list(cwd.iterdir()) == []
    outbox.remove(str(path))


def test_others_keep_theirs(cwd: Path, state: Path) -> None:
    mine, other = made(cwd, state), made(cwd, state, "other")
    outbox.remove(str(mine))
    assert other.is_dir()
    assert (other.parent / ".gitignore").read_text() == "*\n"
    (cwd / ".daplug" / "kept").touch()
    outbox.remove(str(other))
    assert [one.name for one in (cwd / ".daplug").iterdir()] == ["kept"]


def test_the_state_directory_may_be_a_link_of_the_users(cwd: Path, state: Path) -> None:
    (cwd / ".daplug").symlink_to(state)
    path = made(cwd, state)
    assert path == state / "outbox" / TOKEN
    outbox.remove(str(path))
    assert (list(state.iterdir()), (cwd / ".daplug").is_symlink()) == ([], True)


@pytest.mark.parametrize("where", [".daplug", ".daplug/outbox"])
@pytest.mark.parametrize("what", ["link", "dangling", "file", "fifo"])
def test_nothing_that_is_planted_is_followed(
    cwd: Path, state: Path, tmp_path: Path, where: str, what: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    place = cwd / where
    place.parent.mkdir(exist_ok=True)
    if what == "file":
        place.touch()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(victim if what == "link" else tmp_path / "nothing")
    with pytest.raises(OSError, match=r".") as caught:
        made(cwd, state)
    assert not isinstance(caught.value, FileNotFoundError)
    assert list(victim.iterdir()) == []
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("what", ["link", "fifo", "socket", "directory", "device"])
def test_only_an_ordinary_file_is_read(
    cwd: Path, state: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = made(cwd, state) / "result.json"
    (tmp_path / "secret").write_text("{}")
    if what == "link":
        result.symlink_to(tmp_path / "secret")
    elif what == "device":
        result.symlink_to("/dev/zero")
    elif what == "fifo":
        os.mkfifo(result)
    elif what == "directory":
        result.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as made_socket:
            monkeypatch.chdir(result.parent)  # the path may be too long for a socket
            made_socket.bind("result.json")
    with pytest.raises(OSError, match=r".") as caught:
        outbox.take(str(result.parent), 10)
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_directory_that_became_a_link_leads_nowhere(
    cwd: Path, state: Path, tmp_path: Path, level: int
) -> None:
    """The agent puts a link in the place of the outbox, or of what is above it, to where it may not write."""
    path = made(cwd, state)
    victim = tmp_path / "victim"
    inside = victim.joinpath(*path.parts[len(path.parts) - level :])
    inside.mkdir(parents=True)
    (inside / "result.json").write_text("{}")
    place = (path, path.parent, path.parents[1])[level]
    place.rename(tmp_path / "away")
    place.symlink_to(victim)
    with pytest.raises(NotADirectoryError):
        outbox.take(str(path), 10)
    outbox.remove(str(path))
    assert (inside / "result.json").exists()
    assert place.is_symlink() is bool(level), "in its own place it is removed, and not followed"


def test_links_in_it_are_removed_and_not_what_they_lead_to(cwd: Path, state: Path, tmp_path: Path) -> None:
    path = made(cwd, state)
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "kept").touch()
    (path / "link").symlink_to(tmp_path / "victim")
    outbox.remove(str(path))
    assert (path.exists(), (tmp_path / "victim" / "kept").exists()) == (False, True)


def test_one_that_is_closed_goes_too(cwd: Path, state: Path) -> None:
    path = made(cwd, state)
    (path / "x").touch()
    path.chmod(0)
    outbox.remove(str(path))
    assert list(cwd.iterdir()) == []


def test_git_does_not_see_it(tmp_path: Path, state: Path) -> None:
    repository = new_repository(tmp_path / "repository")
    git(repository, "worktree", "add", "-q", "../tree")
    for cwd in (repository, tmp_path / "tree", repository / "below"):
        cwd.mkdir(exist_ok=True)
        (made(cwd, state) / "result.json").write_text("{}")
    for top in (repository, tmp_path / "tree"):
        assert git(top, "status", "--porcelain", "--untracked-files=all") == ""
    git(repository, "worktree", "remove", "../tree")


@pytest.mark.parametrize(
    ("path", "one"),
    [
        (f"/a/.daplug/outbox/{TOKEN}", True),
        (f"/outbox/{TOKEN}", True),
        ("", False),
        (f"a/outbox/{TOKEN}", False),
        ("/a/outbox/other", False),
        (f"/a/../outbox/{TOKEN}", False),
        (f"/a/outbox/{TOKEN}/", False),
        (f"/a/elsewhere/{TOKEN}", False),
        (f"/a/outbox/x/../{TOKEN}", False),
    ],
)
def test_what_can_be_the_path_of_one(path: str, one: bool) -> None:
    assert outbox.is_one(path, TOKEN) is one


def test_where_an_attempts_outbox_is(tmp_path: Path) -> None:
    assert bundles.outbox_of(str(tmp_path)) == ""
    os.mkfifo(tmp_path / bundles.OUTBOX)
    assert bundles.outbox_of(str(tmp_path)) == ""


# --- commands


@pytest.fixture
def box(cwd: Path, state: Path) -> Path:
    path = made(cwd, state)
    outbox.furnish(str(path), b'{"run": "r"}')
    return path


def ids(box: Path, most: int = 10) -> list[str]:
    return [one.id for one in outbox.asked(str(box), most)[0]]


def test_an_outbox_with_commands_says_so(cwd: Path, state: Path, box: Path) -> None:
    assert outbox.has_commands(str(box))
    assert not outbox.has_commands(str(made(cwd, state, "other")))
    assert (box / "about.json").read_text() == '{"run": "r"}'
    assert [stat.S_IMODE((box / name).stat().st_mode) for name in ("commands", "answers", "about.json")] == [
        0o700,
        0o700,
        0o600,
    ]


def test_commands_come_in_the_order_in_which_they_were_written(box: Path) -> None:
    for at, name in enumerate(("10", "9", "b", "a"), 1):
        (box / "commands" / f"{name}.json").write_text(name)
        os.utime(box / "commands" / f"{name}.json", (at, at))
    assert outbox.asked(str(box), 10) == (
        [outbox.Asked(name, name.encode()) for name in ("10", "9", "b", "a")],
        False,
    )
    assert ids(box, 2) == ["10", "9"], "no more than are wanted"
    assert outbox.asked(str(box), 2)[1]


def test_of_those_written_at_the_same_moment_numbers_count_as_numbers(box: Path) -> None:
    names = ["1", "2", "10", "11", "a2", "a10", "a10b", "b"]
    for name in sorted(names, reverse=True):
        (box / "commands" / f"{name}.json").write_text(name)
        os.utime(box / "commands" / f"{name}.json", (7, 7))
    assert ids(box) == names


def test_what_is_no_command_is_no_command(box: Path, tmp_path: Path) -> None:
    commands = box / "commands"
    (tmp_path / "secret").write_text("{}")
    (commands / "link.json").symlink_to(tmp_path / "secret")
    (commands / "dangling.json").symlink_to(tmp_path / "nothing")
    os.mkfifo(commands / "pipe.json")
    (commands / "folder.json").mkdir()
    (commands / "huge.json").write_bytes(b"x" * (outbox.LARGEST_COMMAND + 1))
    (commands / "fits.json").write_bytes(b"x" * outbox.LARGEST_COMMAND)
    found = {one.id: one for one in outbox.asked(str(box), 10)[0]}
    assert {name: one.flaw for name, one in found.items()} == {
        "link": "not a regular file", "dangling": "not a regular file", "pipe": "not a regular file",
        "folder": "not a regular file", "huge": "larger than 65536 bytes", "fits": "",
    }  # fmt: skip
    assert not any(one.data for name, one in found.items() if name != "fits")
    for name in found:
        outbox.answer(str(box), name, b"no")
    assert (ids(box), (tmp_path / "secret").read_text()) == ([], "{}")


@pytest.mark.parametrize(
    "name", ["x.txt", "x", "a b.json", "-x.json", "x" * 65 + ".json", "é.json", os.fsdecode(b"\xff.json")]
)
def test_names_are_bounded_too(box: Path, name: str) -> None:
    (box / "commands" / name).touch()
    assert outbox.asked(str(box), 10) == ([], True)
    (box / "commands" / name).rename(box / "commands" / ".hidden.json")
    assert outbox.asked(str(box), 10) == ([], False), "those of files in the making"


def test_of_thousands_some_are_looked_at(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MOST_LISTED", 5)
    for number in range(20):
        (box / "commands" / f"{number}.json").touch()
    found, more = outbox.asked(str(box), 100)
    assert (len(found), more) == (6, True)


@pytest.mark.parametrize("what", ["link", "file", "folder"])
def test_answers_are_put_where_they_belong_or_nowhere(box: Path, tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.json").write_text("whole")
    place = box / "answers"
    if what == "folder":
        (place / "x.json").symlink_to(victim / "x.json")
        outbox.answer(str(box), "x", b"yes")
        assert (place / "x.json").read_bytes() == b"yes"
        assert stat.S_IMODE((place / "x.json").lstat().st_mode) == 0o600
        (place / "y.json").mkdir()
        with pytest.raises(IsADirectoryError):
            outbox.answer(str(box), "y", b"yes")
        assert sorted(one.name for one in place.iterdir()) == ["x.json", "y.json"], (
            "nothing half made is left"
        )
    else:
        place.rmdir()
        if what == "link":
            place.symlink_to(victim)
        else:
            place.touch()
        (box / "commands" / "x.json").touch()
        with pytest.raises(OSError, match=r"."):
            outbox.answer(str(box), "x", b"yes")
        assert ids(box) == [], "it is taken away all the same"
    assert [(one.name, one.read_text()) for one in victim.iterdir()] == [("x.json", "whole")]


def test_commands_that_became_a_link_lead_nowhere(box: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.json").write_text("{}")
    (box / "commands").rmdir()
    (box / "commands").symlink_to(victim)
    assert not outbox.has_commands(str(box))
    with pytest.raises(NotADirectoryError):
        outbox.asked(str(box), 10)
    outbox.answer(str(box), "x", b"yes")
    assert (victim / "x.json").exists()
