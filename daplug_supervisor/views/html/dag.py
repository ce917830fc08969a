"""The dependencies of a plan as a picture, coloured by what came of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping

from daplug_supervisor.core.graph import stages
from daplug_supervisor.core.machine import Status
from daplug_supervisor.core.model import Run, TaskState
from daplug_supervisor.core.queues import parts, waits
from daplug_supervisor.views.colours import SIGNS, state_classes
from daplug_supervisor.views.derived import held_by, label, status_word
from daplug_supervisor.views.family import progress_of
from daplug_supervisor.views.html.layers import NODE_HEIGHT, Graph, Line, Point, direct, layout, lines_of
from daplug_supervisor.views.html.markup import Safe, el, joined
from daplug_supervisor.views.text import clean, columns

MOST_NODES = 150
MOST_POINTS = 3000
MOST_STAGES = 60
_LETTERS, _LETTER, _APART = 22, 7.0, 46.0
_LEAST, _FITS = 760.0, 1500.0
_BAR_LEFT, _BAR, _BAR_ROW, _BAR_HIGH = 76.0, 760.0, 24.0, 16.0
_DEAD = ("failed", "stuck", "cancelled", "blocked")

Spot = tuple[float, float, float]
"""Where something is drawn: its left edge, its middle's height, its width."""


def dag(run: Run, places: dict[str, int]) -> Safe:
    """The picture; `places` as in `timeline`. Of a large plan only how far each stage got. Empty without tasks."""
    if not run.tasks:
        return Safe("")
    graph = waits(run.plan)
    if not drawable(graph):
        return _stages(run, {name: spec.needs for name, spec in run.plan.tasks.items()})
    members = parts(run.plan)
    # A part is drawn as one even where it follows from other parts that the task waits for.
    near = {
        name: tuple(dict.fromkeys((*found, *members.get(name, ())))) for name, found in direct(graph).items()
    }
    return _drawn(run, near, places)


def drawable(needs: Graph) -> bool:
    """Whether a picture of every task would help. `needs`: what each task waits for, its parts too."""
    return len(needs) <= MOST_NODES and sum(map(len, lines_of(direct(needs)))) <= MOST_POINTS


def _drawn(run: Run, needs: Graph, places: dict[str, int]) -> Safe:
    found, classes = layout(needs), state_classes(run)
    names = {name: clean(name, _LETTERS) + _done(run.tasks[name]) for name in needs}
    held = {name for name, kind in classes.items() if kind in _DEAD} | set(held_by(run))
    wide = [
        max((columns(names[one]) for one, _ in layer if isinstance(one, str)), default=0) * _LETTER + 34
        for layer in found.layers
    ]
    left = [sum(wide[:at]) + at * _APART + 2 for at in range(len(wide))]
    spot: dict[Point, Spot] = {
        one: (left[at], y + 2, wide[at]) for at, layer in enumerate(found.layers) for one, y in layer
    }
    kinds = {line: _kind(run, line, held) for line in found.lines}
    edges = [
        _edge(line, spot, kinds[line]) for line in sorted(found.lines, key=lambda line: "held" in kinds[line])
    ]
    nodes = [_node(run, name, names[name], spot[name], classes[name], places.get(name)) for name in needs]
    width, height = left[-1] + wide[-1] + 4, found.height + 4
    told = f"Dependencies of {len(needs)} tasks in {len(found.layers)} stages"
    return el(
        "svg", el("title", told), *edges, *nodes, viewBox=f"0 0 {width:.0f} {height:.0f}", width=width, height=height,
        role="img", class_="dag fit" if _LEAST < width <= _FITS else "dag", aria_label=told,
    )  # fmt: skip


def _kind(run: Run, line: Line, held: Container[str]) -> str:
    """The classes of an edge: whether it leads from a part to its task, and whether it keeps that from going on."""
    one, other = str(line[0]), str(line[-1])
    part = " part-of" if run.spec(one).parent == other else ""
    return f"edge{part}{' held' if one in held and other in held and _waits(run.tasks[other]) else ''}"


def _waits(task: TaskState) -> bool:
    return task.status in (Status.PENDING, Status.DELEGATED)


def _done(task: TaskState) -> str:
    """`` 2/3``: how many parts are done, beside the name of a delegated task."""
    done = progress_of(task) if task.status is Status.DELEGATED else None
    return f" {done.done}/{done.total}" if done else ""


def _edge(line: Line, spot: Mapping[Point, Spot], kind: str) -> Safe:
    x, y, width = spot[line[0]]
    here, drawn = x + width, f"M{x + width:.1f} {y:.1f}"
    for one in line[1:]:
        before, (x, y, width) = y, spot[one]
        middle = (here + x) / 2
        drawn += f"C{middle:.1f} {before:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}"
        here = x + width
        if isinstance(one, int):
            drawn += f"H{here:.1f}"
    return el("path", d=drawn, class_=kind)


def _node(run: Run, name: str, shown: str, spot: Spot, kind: str, place: int | None) -> Safe:
    x, y, width = spot
    title, top = label(run.spec(name)), y - NODE_HEIGHT / 2
    drawn = el(
        "g",
        el("title", f"{name}{f': {title}' if title else ''} ({status_word(run.tasks[name])})"),
        el("rect", x=x, y=top, width=width, height=NODE_HEIGHT, rx=6, class_="box"),
        el("text", SIGNS[kind], x=x + 14, y=y + 5, class_="sign"),
        el("text", shown, x=x + 26, y=y + 4.5),
        class_=f"node {kind}",
    )
    return drawn if place is None else el("a", drawn, href=f"#t{place}")


def _stages(run: Run, needs: Graph) -> Safe:
    """How far each stage of a large plan got, as a bar."""
    classes, levels = state_classes(run), stages(needs)
    shown, drawn = levels[:MOST_STAGES], list[Safe]()
    most = max(map(len, shown))
    for at, names in enumerate(shown):
        y, x = at * _BAR_ROW + 4, _BAR_LEFT
        counts = Counter(classes[name] for name in names)
        drawn.append(el("text", f"stage {at + 1}", x=_BAR_LEFT - 10, y=y + 12, class_="who"))
        for kind in SIGNS:
            width = counts[kind] / most * _BAR
            if counts[kind]:
                told = el("title", f"stage {at + 1}: {counts[kind]} {kind}")
                drawn.append(el("rect", told, x=x, y=y, width=width, height=_BAR_HIGH, class_=f"part {kind}"))
            x += width
        words = ", ".join(f"{counts[kind]} {kind}" for kind in SIGNS if counts[kind])
        drawn.append(el("text", words, x=x + 8, y=y + 12, class_="note"))
    height = len(shown) * _BAR_ROW + 4
    if len(levels) > len(shown):
        drawn.append(
            el(
                "text",
                f"and {len(levels) - len(shown)} more stages",
                x=_BAR_LEFT,
                y=height + 12,
                class_="note",
            )
        )
        height += _BAR_ROW
    about = f"{len(needs)} tasks in {len(levels)} stages"
    size = f"0 0 {_BAR_LEFT + _BAR + 320:g} {height:g}"
    return el(
        "svg", el("title", about), joined(drawn), viewBox=size, role="img", class_="stages", aria_label=about
    )
