"""Archives of executions: copies with checksums, made beside and put in place by one rename, and put back."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from daplug_supervisor.core.plan import ID_PATTERN
from daplug_supervisor.errors import BundleError
from daplug_supervisor.workspace.files import make_private, open_output, sync_directory, write_atomically
from daplug_supervisor.workspace.folders import entered, read_below
from daplug_supervisor.workspace.room import FULL

NAME: Final = "archive"
KIND: Final = "execution"
MANIFEST: Final = "archive-manifest.json"
MOST_FILES: Final = 200_000
LARGEST: Final = 256 << 20
"""Bytes of a file that is still taken."""

Root = Literal["state", "tasker"]
_BELONGS: Final[Mapping[Root, re.Pattern[str]]] = {
    "state": re.compile(r"runs/|supervisor\.log(?!.)"),
    "tasker": re.compile(
        r"(bundles|logs|reports)/|state\.json(?!.)|artifacts/fsm-coverage\.execute\.json(?!.)"
    ),
}
"""Where files of archives may be put back: never a journal, nor a plan."""

_ID = re.compile(ID_PATTERN)
_BLOCK = 1 << 20
_LEFT_OVER = 86400.0
_HALF = ".tmp"
_WHOLE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]{1,4})?")


class Piece(Struct, frozen=True):
    """A file to be archived: where it is (from a root), and what it is called in the archive."""

    root: Root
    source: str
    path: str


class Archived(Struct, frozen=True, omit_defaults=True):
    """A file of an archive. `root` and `source` say where it came from ('' if it was made for the archive)."""

    path: str
    size: int
    sha256: str
    changed_at: float = 0.0
    root: Root | Literal[""] = ""
    source: str = ""


class Manifest(Struct, frozen=True):
    """``archive-manifest.json``. `created_at` is UTC seconds; `left_out` are files that were not taken, and why."""

    version: Literal["1.0"]
    id: str
    project: str
    kind: Literal["execution"]
    run: str
    state: str
    target: str
    created_at: float
    files: tuple[Archived, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)


class About(Struct, frozen=True):
    """What an archive is of."""

    project: str
    run: str
    state: str
    target: str


class Restored(Struct, frozen=True):
    """What became of a file: ``restored``, ``same`` (it was there), ``newer`` (kept), ``damaged``, ``refused``."""

    path: str
    to: str
    became: Literal["restored", "same", "newer", "damaged", "refused"]
    why: str = ""


def files_below(folder: Path, *, most: int = MOST_FILES) -> Iterator[str]:
    """The ordinary files below a folder, by their paths from there, in order; links are not followed."""
    count = 0
    with suppress(FileNotFoundError, NotADirectoryError):
        for at, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
            folders.sort()
            for name in sorted(names):
                whole = os.path.relpath(f"{at}/{name}", folder)
                if count >= most:
                    return
                with suppress(OSError, UnicodeEncodeError):
                    whole.encode()
                    if stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                        count += 1
                        yield whole


def make(
    base: Path,
    about: About,
    pieces: Iterable[Piece],
    roots: Mapping[str, Path],
    made: Mapping[str, bytes],
    now: float,
) -> Manifest:
    """Archive `pieces`, and `made` files, below `base`. The archive is there whole, or not at all.

    Raises:
        BundleError: the project's name cannot be used, or there is no room.
        OSError: it could not be written.
    """
    if not _ID.match(about.project):
        raise BundleError(
            [f"{about.project!r} cannot be the name of a project: letters, digits, '.', '_', '-'"]
        )
    with entered(base.parent, base.name, make=True) as top:
        if not os.path.lexists(top / ".gitignore"):
            write_atomically(top / ".gitignore", b"*\n")  # it holds logs, which are nobody else's business
    with entered(base.parent, base.name, about.project, KIND, make=True) as folder:
        _tidy(folder, now)
        half = folder / f".{secrets.token_hex(6)}{_HALF}"
        half.mkdir(mode=0o700)
        try:
            return _filled(folder, half, about, pieces, roots, made, now)
        except BaseException as error:
            shutil.rmtree(half, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in FULL:
                raise BundleError(
                    ["there is no room for the archive: free some space; nothing was kept of it"]
                ) from error
            raise


def _filled(
    folder: Path,
    half: Path,
    about: About,
    pieces: Iterable[Piece],
    roots: Mapping[str, Path],
    made: Mapping[str, bytes],
    now: float,
) -> Manifest:
    files, left_out = [], []
    for piece in pieces:
        try:
            files.append(_copied(piece, roots[piece.root], half))
        except OSError as error:
            if error.errno in FULL:
                raise
            left_out.append(f"{piece.source}: {error.strerror or error}")
    for path, data in made.items():
        _written(half / path, data)
        files.append(Archived(path, len(data), hashlib.sha256(data).hexdigest()))
    name = _free(folder, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)))
    manifest = Manifest(
        version="1.0",
        id=f"{about.project}/{KIND}/{name}",
        project=about.project,
        kind=KIND,
        run=about.run,
        state=about.state,
        target=about.target,
        created_at=now,
        files=tuple(files),
        left_out=tuple(left_out),
    )
    _written(half / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    for at, _, _ in os.walk(half):
        sync_directory(Path(at))
    half.rename(folder / name)
    sync_directory(folder)
    return manifest


def _copied(piece: Piece, root: Path, half: Path) -> Archived:
    *folders, name = piece.source.split("/")
    with entered(root, *folders) as at, open_output(at / name) as file:
        status = os.fstat(file.fileno())
        if status.st_size > LARGEST:
            raise OSError(errno.EFBIG, f"longer than {LARGEST >> 20} MiB")
        found, size = hashlib.sha256(), 0
        target = half / piece.path
        make_private(target.parent)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            while size < LARGEST and (block := file.read(_BLOCK)):
                found.update(block)
                size += len(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return Archived(piece.path, size, found.hexdigest(), status.st_mtime, piece.root, piece.source)


def _written(path: Path, data: bytes) -> None:
    make_private(path.parent)
    write_atomically(path, data)


def _free(folder: Path, name: str) -> str:
    """A name that is not taken."""
    found, number = name, 1
    while os.path.lexists(folder / found):
        number += 1
        found = f"{name}-{number}"
    return found


def _tidy(folder: Path, now: float) -> None:
    """Remove what archives that were interrupted have left; one of the last day may be somebody's who is at it."""
    for left in folder.glob(f".*{_HALF}"):
        with suppress(OSError):
            if now - left.lstat().st_mtime > _LEFT_OVER:
                shutil.rmtree(left)


# --- looking at them, and putting them back -----------------------------------------------------------------


def listing(base: Path, project: str = "") -> tuple[Manifest, ...]:
    """The archives below `base`, of one project if it is named, oldest first. What has no manifest is none."""
    found = []
    for name in _names(base):
        if project in ("", name):
            found += [
                one for at in _names(base, name, KIND) if (one := _manifest(base, name, at)) is not None
            ]
    return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))


def _names(base: Path, *below: str) -> list[str]:
    with suppress(OSError), entered(base.parent, base.name, *below) as folder:
        return sorted(one.name for one in folder.iterdir() if _ID.match(one.name))
    return []


def _manifest(base: Path, project: str, name: str) -> Manifest | None:
    if not _WHOLE.fullmatch(name):
        return None
    with suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
        data = read_below(base.parent, f"{base.name}/{project}/{KIND}/{name}/{MANIFEST}")
        found = msgspec.json.decode(data or b"", type=Manifest)
        return found if found.id == f"{project}/{KIND}/{name}" else None
    return None


def restore(
    base: Path, manifest: Manifest, roots: Mapping[str, Path], *, dry_run: bool = False
) -> tuple[Restored, ...]:
    """Put an archive's files back where they came from; never over one that is newer, nor through a link.

    Raises:
        OSError: there is no room, or no leave.
    """
    return tuple(
        _restored(base, manifest, one, roots, dry_run=dry_run) for one in manifest.files if one.source
    )


def _restored(
    base: Path, manifest: Manifest, one: Archived, roots: Mapping[str, Path], *, dry_run: bool
) -> Restored:
    root = roots.get(one.root)
    if (
        root is None
        or not _plain(one.source)
        or not _plain(one.path)
        or not _BELONGS[one.root or "state"].match(one.source)
    ):
        return Restored(one.path, one.source, "refused", "that is no place for a file of an archive")
    to = f"{root}/{one.source}"
    data, why = _content(base, manifest, one)
    if data is None:
        return Restored(one.path, to, "damaged", why)
    *folders, name = one.source.split("/")
    try:
        with entered(root, *folders, make=not dry_run) as folder:
            return _put(folder / name, data, one, to, dry_run=dry_run)
    except FileNotFoundError:
        return Restored(one.path, to, "restored")  # that is, it would be: nothing is made in a dry run
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        return Restored(one.path, to, "refused", "a link, or something else, is in the way")


def _content(base: Path, manifest: Manifest, one: Archived) -> tuple[bytes | None, str]:
    """What is in a file of an archive; None, and why, if it is not what was put there."""
    try:
        data = read_below(base.parent, f"{base.name}/{manifest.id}/{one.path}", LARGEST)
    except OSError as error:
        return None, str(error.strerror or error)
    if data is None:
        return None, "it is gone"
    fits = hashlib.sha256(data).hexdigest() == one.sha256
    return (data, "") if fits else (None, "its checksum does not fit")


def _put(place: Path, data: bytes, one: Archived, to: str, *, dry_run: bool) -> Restored:
    try:
        status = place.lstat()
    except FileNotFoundError:
        status = None
    if status is not None:
        if not stat.S_ISREG(status.st_mode):
            return Restored(one.path, to, "refused", "something else is there")
        if status.st_size == one.size and _same(place, one.sha256):
            return Restored(one.path, to, "same")
        if status.st_mtime >= one.changed_at:
            return Restored(one.path, to, "newer", "what is there is newer, and was kept")
    if not dry_run:
        write_atomically(place, data)
        os.utime(place, (one.changed_at, one.changed_at), follow_symlinks=False)
    return Restored(one.path, to, "restored")


def _same(place: Path, sha256: str) -> bool:
    with suppress(OSError), open_output(place) as file:
        return hashlib.sha256(file.read(LARGEST)).hexdigest() == sha256
    return False


def _plain(path: str) -> bool:
    parts = path.split("/")
    return "\0" not in path and all(part not in ("", ".", "..") for part in parts)
