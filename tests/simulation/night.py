"""A night alone: 200 tasks, four providers and what goes wrong with them, through the real supervisor in virtual time.

``make night`` prints the figures of twenty such nights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from unittest import mock

import anyio
from simulated import Simulation
from story import Story
from weather import HOUR, MINUTE, Spell, Weather, bad_night

from daplug_supervisor.core.plan import Plan, Provider, Retry, Task
from daplug_supervisor.core.results import Exit, OutcomeKind
from daplug_supervisor.ports import Launch
from daplug_supervisor.testing import Script, VirtualLoop
from daplug_supervisor.testing.virtual import EPOCH
from daplug_supervisor.workspace import room

K = OutcomeKind

CODE = {K.RATE_LIMITED: 75, K.QUOTA: 76, K.OUTAGE: 69, K.AUTH: 77}
"""The exit codes of agents that met a spell; `story.CODES` reads them."""

SHARE = {"codex": 50, "opencode": 75, "gemini": 25, "claude": 50}
SLOTS = {"codex": 2, "opencode": 3, "gemini": 1, "claude": 2}
FALLBACK = {"codex": ("claude",), "gemini": ("opencode",)}
ACCOUNT = {"codex": "openai", "opencode": "openai"}

_OWN: tuple[tuple[float, tuple[tuple[int | None, float], ...]], ...] = (
    (0.80, ()),
    (0.10, ((1, 0.6),)),
    (0.04, ((-11, 0.3),)),
    (0.03, ((1, 0.9), (-11, 0.2))),
    (0.03, ((None, 0.5),)),
)
"""How likely it is that a task's first attempts end so by themselves: exit code (None: lost), and after which part."""


@dataclass(frozen=True)
class Work:
    """What a task is: seconds of work, and how its own attempts end before the one that succeeds."""

    seconds: float
    ends: tuple[tuple[int | None, float], ...] = ()

    def end(self, number: int) -> tuple[int | None, float]:
        """Exit code and seconds of the attempt with this number, counted from 0, without those that met a spell."""
        code, part = self.ends[number] if number < len(self.ends) else (0, 1.0)
        return code, self.seconds * part

    @property
    def whole(self) -> float:
        """The seconds of all attempts."""
        tried = sum(part for _, part in self.ends)
        return self.seconds * (tried if self.fails else tried + 1.0)

    @property
    def fails(self) -> bool:
        """Whether no attempt succeeds."""
        return len(self.ends) >= RETRY.attempts


RETRY = Retry(attempts=3)
IDLE = 10 * MINUTE


@dataclass(frozen=True)
class Night:
    """All that is decided before it begins: tasks, what they are, the weather, when the supervisor is killed."""

    plan: Plan
    work: Mapping[str, Work]
    weather: Weather
    kills: tuple[float, ...] = ()
    full_disk: tuple[float, float] = (math.inf, math.inf)

    def under(self, weather: Weather) -> Night:
        """The same tasks with another weather, and nobody who kills."""
        return replace(self, weather=weather, kills=(), full_disk=(math.inf, math.inf))


def make_night(seed: int) -> Night:
    """The night of a seed."""
    chance = Random(seed)
    tasks = make_tasks(chance)
    providers = {
        name: Provider(
            worker="agent",
            parallel=slots,
            fallback=FALLBACK.get(name, ()),
            account=ACCOUNT.get(name),
            env={"SIMULATED_PROVIDER": name},
        )
        for name, slots in SLOTS.items()
    }
    work = {name: _work(chance) for name in tasks}
    needed = {need for spec in tasks.values() for need in spec.needs}
    hopeless = chance.choice([name for name in tasks if name not in needed])
    work[hopeless] = Work(work[hopeless].seconds, ((1, 0.5),) * RETRY.attempts)
    full = chance.uniform(1.0, 6.0) * HOUR
    kills = tuple((number + chance.uniform(0.1, 0.9)) * 1.5 * HOUR for number in range(5))
    return Night(Plan("night", tasks, providers), work, bad_night(chance), kills, (full, full + 10 * MINUTE))


def _work(chance: Random) -> Work:
    seconds = min(90.0, 5.0 + chance.expovariate(1 / 11)) * MINUTE
    return Work(seconds, chance.choices([ends for _, ends in _OWN], [weight for weight, _ in _OWN])[0])


def make_tasks(chance: Random) -> dict[str, Task]:
    """Chains, diamonds and wide stages; most of one provider, some of several."""
    names = chance.sample([name for name, count in SHARE.items() for _ in range(count)], sum(SHARE.values()))
    left = Counter(names)
    tasks: dict[str, Task] = {}

    def add(provider: str, *needs: str) -> str:
        if not left[provider]:
            provider = max(sorted(left), key=lambda name: left[name])
        left[provider] -= 1
        name = f"t{len(tasks):03}"
        spec = Task(
            command=("true",),
            needs=needs,
            provider=provider,
            retry=RETRY,
            fallback=chance.random() < 0.8,
            idle_timeout=IDLE,
        )
        tasks[name] = spec
        return name

    while left.total():
        size = min(left.total(), chance.choice([1, 1, 4, 6, 5, 5, 10]))
        mixed = chance.random() < 0.35
        one = chance.choice(names)
        made: list[str] = []
        for number in range(size):
            provider = chance.choice(names) if mixed else one
            made.append(add(provider, *_needs(made, number, size)))
    return tasks


def _needs(made: list[str], number: int, size: int) -> tuple[str, ...]:
    """4 and 6 are chains; 5 and 10 have one task, then all but one, then one that needs those."""
    if not number:
        return ()
    if size in (5, 10):
        return tuple(made[1:]) if number == size - 1 else (made[0],)
    return (made[-1],)


@dataclass
class Past:
    """What the world knows of its attempts, by task and number: what they were, and the spell that they met."""

    met: dict[tuple[str, int], Spell | None] = field(default_factory=dict)
    own: Counter[str] = field(default_factory=Counter)


class NightSimulation(Simulation):
    """One night, from its first life to the morning."""

    def __init__(self, directory: Path, night: Night, seed: int = 0) -> None:
        super().__init__(directory, Story((night.plan,)), seed)
        self.night, self.weather, self.past = night, night.weather, Past()
        self.kills = list(night.kills)
        self.chance = Random(seed)
        self.world.script = self._behave
        self._seen = 0

    def fork(self, *, kept: bool = False) -> NightSimulation:
        """See `Simulation.fork`."""
        other = super().fork(kept=kept)
        assert isinstance(other, NightSimulation)
        other.past = Past(dict(self.past.met), Counter(self.past.own))
        other.world.script = other._behave
        return other

    def through(self) -> None:
        """Live through all of it; when everything waits for a person, one comes and logs in."""
        with mock.patch.object(room, "notice", self._notice):
            while not self.live(meanwhile=lambda _, __: self._kill()):
                self.time += self.chance.uniform(0.0, 10 * MINUTE)

    async def _kill(self) -> None:
        """Kill the supervisor a few steps after its time has come."""
        while self.kills and self.kills[0] <= anyio.current_time():
            self.kills.pop(0)
        if self.kills:
            await anyio.sleep_until(self.kills.pop(0))
            self._loop.crash_at = self._loop.steps + self.chance.randint(1, 60)

    def _new_life(self, crash_at: int | None = None) -> VirtualLoop:
        self._loop = super()._new_life(crash_at)
        return self._loop

    def _notice(self, _path: str) -> str:
        begin, end = self.night.full_disk
        return "the disk is full" if begin <= self._loop.time() < end else ""

    def _behave(self, launch: Launch) -> Script:
        """What an attempt does that begins now."""
        task, number, provider = (
            launch.env["DAPLUG_TASK"],
            int(Path(launch.directory).name),
            launch.env["SIMULATED_PROVIDER"],
        )
        self._look_for_the_person()
        code, seconds = self.night.work[task].end(self.past.own[task])
        fate = self.weather.fate(f"{task}#{number}", provider, anyio.current_time(), seconds)
        self.past.met[task, number] = fate.met
        if fate.met is None:
            self.past.own[task] += 1
            return Script(seconds, Exit(code))
        if fate.seconds == math.inf:
            return Script(works=fate.works, seconds=math.inf)
        stated = fate.met.stated(anyio.current_time() + fate.seconds)
        told = b"" if stated is None else str(EPOCH + stated).encode()
        return Script(fate.seconds, Exit(CODE[fate.met.kind]), stdout=told)

    def _look_for_the_person(self) -> None:
        """Whoever resumes has logged in before."""
        if any(b'"resumed"' in data for _, _, _, data in self.durable[self._seen :]):
            spells = (spell for spell in self.weather.spells if spell.kind is not K.AUTH)
            self.weather = Weather(tuple(spells))
        self._seen = len(self.durable)
