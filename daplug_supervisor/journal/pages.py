"""Rows found in a journal's bytes without SQLite: whatever is damaged around them, an intact row can be told by itself.

A row in a leaf page is: the length of what follows, the row's number, a header with a type for each column, the
columns. All of it is found by looking for such headers anywhere in the bytes, so no page number, pointer, tree or page
type has to be right; only long rows need the numbers of the pages that they go on in. The same is done with the
write-ahead log, whose frames hold pages.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Fields = tuple[str, float, str, str, int, str, int | None, int | None]
"""The columns without the row's number, which is not kept among them."""

_HEADERS = re.compile(rb"(?=[\x08-\x1e]\x00[\x0d-\xff])")
"""A short header whose first column is NULL, as the row's number is, and whose second may be text."""

_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
_INTEGERS = frozenset({1, 2, 3, 4, 5, 6, 8, 9})
_COLUMNS = "trttitss"
"""Of `Fields`: text, real, integer, and checksums, which are integers or NULL."""

_USUAL = 4096
_WAL_HEADER, _FRAME_HEADER = 32, 24
_LONGEST = 1 << 30
_LONGEST_NUMBER = 9


class Found(NamedTuple):
    """A row that may be one: its columns, and the numbers that it may have (none if that is damaged)."""

    numbers: tuple[int, ...]
    fields: Fields


class Pages:
    """The pages of a journal's file and of its write-ahead log, in the sizes that they may have."""

    def __init__(self, file: bytes, wal: bytes) -> None:
        told = [
            int.from_bytes(file[16:18], "big") if len(file) > 18 else 0,  # noqa: PLR2004
            int.from_bytes(wal[8:12], "big") if len(wal) > _WAL_HEADER else 0,
            _USUAL,
        ]
        sizes = {65536 if size == 1 else size for size in told}
        self._sizes = sorted(size for size in sizes if 512 <= size <= 65536 and size.bit_count() == 1)  # noqa: PLR2004
        self._file, self._wal = file, wal

    def rows(self) -> Iterator[Found]:
        """Everything that looks like a row, possibly more than once."""
        for size in self._sizes:
            images = list(self._images(size))
            newest: dict[int, bytes] = {}
            oldest: dict[int, bytes] = {}
            for number, image in images:
                newest[number] = image
                oldest.setdefault(number, image)
            for image in {image for _, image in images}:
                yield from _in_page(image, size, (newest, oldest))

    def _images(self, size: int) -> Iterator[tuple[int, bytes]]:
        for at in range(0, len(self._file), size):
            yield at // size + 1, self._file[at : at + size]
        for at in range(_WAL_HEADER, len(self._wal), _FRAME_HEADER + size):
            begin = at + _FRAME_HEADER
            yield int.from_bytes(self._wal[at : at + 4], "big"), self._wal[begin : begin + size]


def _in_page(page: bytes, size: int, elsewhere: Sequence[dict[int, bytes]]) -> Iterator[Found]:
    for match in _HEADERS.finditer(page):
        at = match.start()
        types = _types(page, at)
        if types is None:
            continue
        length = page[at] + sum(map(_size, types))
        if length > _LONGEST:
            continue
        numbers = _numbers(page, at, length)
        for pages in elsewhere:
            body = _body(page, at, length, size, pages)
            fields = None if body is None else _fields(body[page[at] :], types)
            if fields is not None:
                yield Found(numbers, fields)
            if length <= size - 35:
                break


def _types(page: bytes, at: int) -> list[int] | None:
    """The column types in a header, if they are those of a row of ours."""
    end, at = at + page[at], at + 2
    types: list[int] = []
    while at < end:
        value, at = _varint(page, at)
        types.append(value)
    wanted = _COLUMNS if len(types) == len(_COLUMNS) else _COLUMNS[:-2]
    if at != end or len(types) != len(wanted):
        return None
    return types if all(map(_fits, types, wanted)) else None


def _fits(found: int, wanted: str) -> bool:
    if wanted == "t":
        return found >= 13 and found % 2 == 1  # noqa: PLR2004
    return found in _INTEGERS or found == {"r": 7, "s": 0, "i": 1}[wanted]


def _size(found: int) -> int:
    return _SIZES[found] if found < 10 else (found - 12) // 2  # noqa: PLR2004


def _numbers(page: bytes, at: int, length: int) -> tuple[int, ...]:
    """The row's number stands before its header, behind the length, and both are of varying size.

    If the length is damaged, all that the number could be is told: the checksum knows.
    """
    before = _written(length)
    possible = []
    for count in range(1, min(_LONGEST_NUMBER, at) + 1):
        value, end = _varint(page, at - count)
        if end == at and 0 < value < 1 << 62:
            if page[: at - count].endswith(before):
                return (value,)
            possible.append(value)
    return tuple(possible)


def _body(page: bytes, at: int, length: int, size: int, pages: dict[int, bytes]) -> bytes | None:
    """All bytes of a row: in its page, or begun there and continued in others."""
    most = size - 35
    if length <= most:
        return page[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    parts, left = [page[at : at + local]], length - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0:
        image = pages.get(following)
        if image is None or len(image) < min(size, left + 4):
            return None
        parts.append(image[4 : 4 + min(left, size - 4)])
        left -= len(parts[-1])
        following = int.from_bytes(image[:4], "big")
    return b"".join(parts)


def _fields(data: bytes, types: list[int]) -> Any:
    """The columns, or None if they are not all there."""
    if len(data) < sum(map(_size, types)):
        return None
    values: list[Any] = []
    at = 0
    try:
        for kind, wanted in zip(types, _COLUMNS, strict=False):
            raw = data[at : at + _size(kind)]
            at += len(raw)
            values.append(_value(kind, wanted, raw))
    except UnicodeDecodeError:
        return None
    return (*values, *[None] * (len(_COLUMNS) - len(values)))


def _value(kind: int, wanted: str, raw: bytes) -> Any:
    if kind == 0:
        return None
    if kind > 9:  # noqa: PLR2004
        return raw.decode()
    number = struct.unpack(">d", raw)[0] if kind == 7 else kind - 8 if kind > 7 else _signed(raw)  # noqa: PLR2004
    return float(number) if wanted == "r" else number


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """SQLite's variable-length integer, and where it ends; it may end behind the data."""
    value = 0
    for count in range(8):
        byte = data[at + count] if at + count < len(data) else 0
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004
            return value, at + count + 1
    byte = data[at + 8] if at + 8 < len(data) else 0
    return value << 8 | byte, at + 9


def _written(value: int) -> bytes:
    """A small number as SQLite writes it."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))
