"""Where to draw the nodes of a dependency graph: layers from left to right, with few crossings and short edges."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from daplug_supervisor.core.graph import stages

NODE_HEIGHT, ROW, THREAD = 26.0, 36.0, 14.0
_SWEEPS = 12
_SETTLES = 8

Graph = Mapping[str, Sequence[str]]
"""For each node what it needs."""

Point = str | int
"""A node, or the number of a bend."""

Line = tuple[Point, ...]
"""An edge: a node, the bends in the layers that it goes through, a node."""

Links = Mapping[Point, Sequence[Point]]


class Layout(Struct, frozen=True):
    """Layers of nodes and bends, each with the height of its middle; the edges, and how high it all is."""

    layers: tuple[tuple[tuple[Point, float], ...], ...]
    lines: tuple[Line, ...]
    height: float


def direct(needs: Graph) -> dict[str, tuple[str, ...]]:
    """What each node needs, without what follows from the rest."""
    behind: dict[str, set[str]] = {}
    for level in stages(needs):
        for name in level:
            behind[name] = {far for near in needs[name] for far in (near, *behind[near])}

    def follows(one: str, before: Sequence[str]) -> bool:
        return any(one in behind[other] for other in before)

    return {
        name: tuple(dict.fromkeys(one for one in before if not follows(one, before)))
        for name, before in needs.items()
    }


def lines_of(needs: Graph) -> list[Line]:
    """The edges, those that skip layers with a bend in each."""
    level = {name: at for at, names in enumerate(stages(needs)) for name in names}
    lines: list[Line] = []
    bends = 0
    for name, before in needs.items():
        for other in before:
            between = level[name] - level[other] - 1
            lines.append((other, *range(bends, bends + between), name))
            bends += between
    return lines


def layout(needs: Graph) -> Layout:
    """Where to draw what."""
    levels, lines = stages(needs), lines_of(needs)
    level = {name: at for at, names in enumerate(levels) for name in names}
    layers: list[list[Point]] = [list(names) for names in levels]
    backward: dict[Point, list[Point]] = {}
    forward: dict[Point, list[Point]] = {}
    for line in lines:
        first = level[str(line[0])]
        for at, bend in enumerate(line[1:-1], first + 1):
            layers[at].append(bend)
        for one, other in pairwise(line):
            forward.setdefault(one, []).append(other)
            backward.setdefault(other, []).append(one)
    layers = _ordered(layers, backward, forward)
    heights = _settled(layers, backward, forward)
    top = min(heights.values(), default=0.0)
    placed = tuple(tuple((one, heights[one] - top + NODE_HEIGHT / 2) for one in found) for found in layers)
    return Layout(placed, tuple(lines), max(heights.values(), default=0.0) - top + NODE_HEIGHT)


def _ordered(layers: list[list[Point]], backward: Links, forward: Links) -> list[list[Point]]:
    """Each layer sorted by where its neighbours are on average, to and fro: the order with the fewest crossings."""
    best, fewest = layers, crossings(layers, forward)
    found = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        if sweep % 2:
            for at in range(len(found) - 2, -1, -1):
                found[at] = _by_neighbours(found[at], found[at + 1], forward)
        else:
            for at in range(1, len(found)):
                found[at] = _by_neighbours(found[at], found[at - 1], backward)
        count = crossings(found, forward)
        if count < fewest:
            best, fewest = [list(layer) for layer in found], count
    return best


def _by_neighbours(layer: Sequence[Point], beside: Sequence[Point], links: Links) -> list[Point]:
    place = {one: float(at) for at, one in enumerate(beside)}
    want = {one: _mean([place[near] for near in links.get(one, ())], at) for at, one in enumerate(layer)}
    return sorted(layer, key=want.__getitem__)


def _mean(places: Sequence[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def crossings(layers: Sequence[Sequence[Point]], forward: Links) -> int:
    """How many edges cross between neighbouring layers."""
    total = 0
    for here, there in pairwise(layers):
        place = {one: at for at, one in enumerate(there)}
        before: list[int] = []
        for one in here:
            ends = [place[near] for near in forward.get(one, ())]
            total += sum(len(before) - bisect_right(before, end) for end in ends)
            for end in ends:
                insort(before, end)
    return total


def _settled(layers: Sequence[Sequence[Point]], backward: Links, forward: Links) -> dict[Point, float]:
    """Heights: near to the neighbours', in order, and never closer than is fit."""
    heights: dict[Point, float] = {}
    for layer in layers:
        spread = _spread(layer)
        heights |= {one: place - spread[-1] / 2 for one, place in zip(layer, spread, strict=True)}
    for turn in range(_SETTLES):
        links = forward if turn % 2 else backward
        for layer in reversed(layers) if turn % 2 else layers:
            wanted = [_mean([heights[near] for near in links.get(one, ())], heights[one]) for one in layer]
            heights |= dict(zip(layer, apart(wanted, _spread(layer)), strict=True))
    return heights


def _spread(layer: Sequence[Point]) -> list[float]:
    """How far each has to be from the first, at least."""
    sizes = [THREAD if isinstance(one, int) else ROW for one in layer]
    places = [0.0]
    for one, other in pairwise(sizes):
        places.append(places[-1] + (one + other) / 2)
    return places


def apart(wanted: Sequence[float], spread: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (least squares) that keep their order and their distances."""
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, spread, strict=True):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, many = blocks.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(flat, spread, strict=True)]
