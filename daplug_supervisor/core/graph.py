"""Dependency graphs: cycles, stages, critical path. All linear in nodes and edges, none recursive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

Needs = Mapping[str, Iterable[str]]
"""For each node the nodes that must be finished before it. Every named node must be a key."""


MOST_STAGES: Final = 10
"""Stages that a plan with barriers, or the parts of one task, may form: more of them are several plans."""


def dependents(needs: Needs) -> dict[str, list[str]]:
    """For each node the nodes that wait for it, in plan order, each once."""
    found: dict[str, list[str]] = {node: [] for node in needs}
    for node, before in needs.items():
        for other in dict.fromkeys(before):
            found[other].append(node)
    return found


def ordered(needs: Needs) -> list[str]:
    """The nodes so that each comes after all that it needs; nodes in a cycle, or behind one, are left out."""
    unmet: dict[str, int] = {}
    after: dict[str, list[str]] = {}
    for node, before in needs.items():
        once = set(before)  # of one node at a time: large plans are read in little memory
        unmet[node] = len(once)
        for other in once:
            if other in after:
                after[other].append(node)
            else:
                after[other] = [node]  # smaller than an empty list that grows
    ready = deque(node for node, count in unmet.items() if not count)
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for other in after.get(node, ()):
            unmet[other] -= 1
            if not unmet[other]:
                ready.append(other)
    return order


def cycle(needs: Needs) -> list[str]:
    """One cycle as ``[a, b, c, a]`` where each needs the next, or an empty list if there is none."""
    free = set(ordered(needs))
    left = {node: None for node in needs if node not in free}
    if not left:
        return []
    node = next(iter(left))
    path: dict[str, None] = {}
    while node not in path:
        path[node] = None
        node = next(other for other in needs[node] if other in left)
    nodes = list(path)
    return [*nodes[nodes.index(node) :], node]


def levels(needs: Needs) -> dict[str, int]:
    """For each node how many levels are before its own; nodes in a cycle, or behind one, are left out."""
    level: dict[str, int] = {}
    for node in ordered(needs):
        level[node] = 1 + max((level[other] for other in needs[node]), default=-1)
    return level


def stages(needs: Needs) -> list[list[str]]:
    """Levels of the graph: the first needs nothing, each later one needs something of the level before it.

    Levels describe a plan; they are barriers only where it says so: see `core.stages`.
    """
    found: list[list[str]] = []
    for node, depth in levels(needs).items():
        if depth == len(found):
            found.append([])
        found[depth].append(node)
    return found


def ranks(needs: Needs, weight: Callable[[str], float]) -> dict[str, float]:
    """For each node the weight of the heaviest chain that begins with it (its critical-path length)."""
    after = dependents(needs)
    rank: dict[str, float] = {}
    for node in reversed(ordered(needs)):
        rank[node] = weight(node) + max((rank[other] for other in after[node]), default=0.0)
    return rank


def critical_path(needs: Needs, weight: Callable[[str], float]) -> list[str]:
    """The heaviest chain from a node without needs to a node that nothing needs, in order; empty for no nodes."""
    rank = ranks(needs, weight)
    after = dependents(needs)
    path: list[str] = []
    step = [node for node, before in needs.items() if not list(before) and node in rank]
    while step:
        node = max(step, key=rank.__getitem__)
        path.append(node)
        step = after[node]
    return path
