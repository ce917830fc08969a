"""A shim or its launcher is killed with SIGKILL: its agent never counts as successful, and nothing of it is left."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from cli import MARKING, Place, alive, ended, kill, opened, plan_of, sh, until
from processes import end_of, gone, launch, new_token, said, shell, with_token
from processes import opened as opened_launcher
from promises import Proof

from daplug_supervisor import Retry, Supervisor
from daplug_supervisor.core import events as ev
from daplug_supervisor.core import retry
from daplug_supervisor.core.results import Exit
from daplug_supervisor.errors import LaunchError
from daplug_supervisor.ports import Gate
from daplug_supervisor.processes import shim, start
from daplug_supervisor.processes.held import HeldShim
from daplug_supervisor.processes.launch import ShimLauncher

place = pytest.fixture(opened)
PROGRAM = Path(__file__).with_name("killed_at.py")

ESCAPED = "env -i setsid sh -c 'exec sleep {time}' </dev/null >/dev/null 2>&1 & "
"""In a session of its own, without environment, and without the attempt's output."""

ORPHAN = f"({ESCAPED})\n"
"""As above, and its parent is gone."""


class Part:
    """What is to be killed at which of its lines."""

    def __init__(self, folder: Path, part: str) -> None:
        self.folder = folder
        folder.mkdir()
        shutil.copy(PROGRAM, folder)
        (folder / "source").write_text(str(Path(shim.__file__).resolve().parent))
        (folder / "part").write_text(part)
        self.at(0)

    def at(self, number: int) -> None:
        """Kill it at this line from now on; 0: do not kill it."""
        (self.folder / "killed").unlink(missing_ok=True)
        (self.folder / "at").write_text(str(number))

    def killed(self) -> str:
        """Where it was killed, if it was."""
        found = self.folder / "killed"
        return found.read_text() if found.exists() else ""

    @property
    def program(self) -> str:
        return str(self.folder / PROGRAM.name)


async def look_after(launcher: ShimLauncher, directory: Path, text: str, token: str) -> Exit | None:
    """Run an agent, and check that its end is told truly and only when nothing of it is left."""
    gate = launcher.idle() or await launcher.reserve()
    assert isinstance(gate, HeldShim)
    attached = gate.open(shell(directory, text, cwd=str(directory.parent)))
    found = await attached.wait()
    assert with_token(token) == [], f"{found} was told while something was left"
    ran = (directory.parent / f"{directory.name}-ran").exists()
    if found is None:
        assert not ran, "it was said never to have run"
    elif found.known:
        assert found.code == 0
        assert (directory.parent / f"{directory.name}-ended").exists(), "success before its end"
    gate.close()
    await gone(gate.identity.pid)  # it may have been killed after its last word
    return found


@pytest.mark.promise("P4", "P2")
@pytest.mark.parametrize("part", ["shim", "both"])
async def test_killed_at_every_line(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    """Between its message and its last word. Without launcher, what hides in every way at once is left out."""
    told = Part(tmp_path / "part", part)
    monkeypatch.setattr(start, "program", lambda: [told.program])
    token, number, kinds = new_token(), 0, set()
    escapes = f"setsid sleep 1000.{token} & env -i setsid sleep 1001.{token} & env -i sleep 1002.{token} & "
    if part == "shim":
        escapes = ORPHAN.format(time=f"1003.{token}") + ESCAPED.format(time=f"1004.{token}") + escapes
    async with opened_launcher() as launcher:
        while True:
            number += proof.pick(31, 1) if part == "shim" else proof.pick(61, 3)
            told.at(number)
            text = f"touch {number}-ran; {escapes} sleep 0.02; touch {number}-ended; exit 0"
            found = await look_after(launcher, tmp_path / str(number), text, token)
            if not told.killed():
                break
            kinds.add("never ran" if found is None else "known" if found.known else "lost")
            proof.count("crash points")
            proof.count("kills")
    assert found is not None
    assert found.known
    assert "lost" in kinds
    assert number > 100


@pytest.mark.promise("P2")
async def test_a_launcher_that_is_killed_at_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    told = Part(tmp_path / "part", "launcher")
    monkeypatch.setattr(start, "program", lambda: [told.program])
    number = 0
    while True:
        number += proof.pick(17, 1)
        told.at(number)
        async with opened_launcher() as launcher:
            for count in range(2):  # the first is the spare, and lines are counted from it on
                gate = await launcher.reserve()
                directory = tmp_path / f"{number}-{count}"
                attached = gate.open(shell(directory, "echo here; exit 7"))
                assert (await end_of(attached)).code == 7
                assert (directory / "stdout.log").read_text() == "here\n"
        if not told.killed():
            break
        proof.count("crash points")
        proof.count("kills")
    assert number > 30
    until(lambda: not with_token(str(tmp_path / "part")), "no launcher and no shim left")


TWICE = """{marking}
if [ -e child ]; then
    case $(cut -d' ' -f3 /proc/$(cat child)/stat) in [RSD]) echo alive;; *) echo gone;; esac > saw
else {rest} fi"""


def attempts(rest: str) -> str:
    """A first try that is to be killed; the second one looks whether something of the first is left."""
    return TWICE.format(marking=MARKING, rest=rest)


FORGED = 'echo \'{"state":"exited","code":0}\' > result.json; echo \'{"success": true}\'; '


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    "way", ["shim", "shim, supervisor", "supervisor, shim", "supervisor, launcher, shim", "launcher, shim"]
)
def test_its_outcome_is_lost_and_its_tree_gone_before_any_other_try(
    place: Place, proof: Proof, way: str
) -> None:
    """Whoever is killed in whichever order. The child has left the session and wiped its environment; as long as there
    is a launcher it has closed its output as well, and lost its parent."""
    hidden = "launcher" not in way
    output = "</dev/null >/dev/null 2>&1" if hidden else ""
    child = f"(env -i setsid sh -c 'echo $$ > child; exec sleep 1000' {output} &)"
    line = f"{child}\n until [ -s child ]; do sleep 0.01; done; {FORGED} echo ready > ready; sleep 1000;"
    task = sh(attempts(line), retry=Retry(attempts=1, backoff=0.01))
    process = place.start(place.write(plan_of({"a": task})))
    until((place.target / "ready").exists, "the first try at work")
    [spawned] = place.events(ev.AttemptSpawned)
    escaped = int((place.target / "child").read_text())
    launcher = int(Path(f"/proc/{spawned.pid}/stat").read_text().rpartition(") ")[2].split()[1])
    for who in way.split(", "):
        if who == "supervisor":
            kill(process)
        else:
            os.kill({"shim": spawned.pid, "launcher": launcher}[who], signal.SIGKILL)
        proof.count("kills")
    began = time.monotonic()
    if "supervisor" in way:
        process = place.start("plan.json")
    until(lambda: not alive(escaped), "the tree gone")
    proof.measure("tree of a killed shim gone after", time.monotonic() - began, "s", at_most=5.0)
    assert process.wait(20) == 0
    [lost] = place.events(ev.RetryScheduled)
    assert (lost.result.outcome.kind, lost.uses_try, lost.result.exit.code) == ("lost", False, None)
    assert place.lines("saw") == ["gone"]
    assert place.task("a").tries == 1
    place.nothing_left()


@pytest.mark.promise("P4")
def test_a_shim_that_is_killed_while_nobody_supervises(place: Place, proof: Proof) -> None:
    """The launcher outlives its supervisor as long as there are shims, and ends what a killed one leaves."""
    child = "(env -i setsid sh -c 'echo $$ > child; exec sleep 1000' </dev/null >/dev/null 2>&1 &)"
    line = f"{MARKING} {child}\n until [ -s child ]; do sleep 0.01; done; sleep 1000"
    process = place.start(place.write(plan_of({"a": sh(line)})))
    until(lambda: (place.target / "child").exists() and (place.target / "child").read_text().strip(), "it")
    [spawned] = place.events(ev.AttemptSpawned)
    launcher = psutil.Process(spawned.pid).parent()
    assert launcher is not None
    kill(process)
    until(lambda: _has_only(launcher, spawned.pid), "the launcher has seen that its supervisor is gone")
    began = time.monotonic()
    os.kill(spawned.pid, signal.SIGKILL)
    until(lambda: not place.processes(), "nothing left, the launcher neither")
    assert not alive(int((place.target / "child").read_text()))
    proof.measure("tree of a killed shim gone after", time.monotonic() - began, "s", at_most=5.0)
    proof.count("kills", 2)


def _has_only(launcher: psutil.Process, shim: int) -> bool:
    """Whether a launcher has collected all its shims but one; or whether it is gone, as it must not be."""
    try:
        return [child.pid for child in launcher.children()] == [shim]
    except psutil.NoSuchProcess:
        return True


async def test_what_hides_in_every_way_is_not_found_without_launcher(tmp_path: Path) -> None:
    """A limit, told in the documents: no mark, no session, no output, no parent, and no subreaper."""
    token = new_token()
    async with opened_launcher() as launcher:
        gate = await launcher.reserve()
        attached = gate.open(shell(tmp_path, ORPHAN.format(time=f"1000.{token}") + "echo ready; sleep 1000"))
        await said(tmp_path / "stdout.log", "ready")
        [left] = with_token(f"sleep\0001000.{token}") or with_token(token)[-1:]
        assert launcher._process is not None
        launcher._process.kill()
        launcher._process.wait()
        os.kill(gate.identity.pid, signal.SIGKILL)
        assert not (await end_of(attached)).known
        assert alive(left)
        os.kill(left, signal.SIGKILL)


async def test_a_launcher_that_cannot_fork_says_so_and_goes_on(tmp_path: Path) -> None:
    """Too many processes for a moment: that request is refused, the launcher and its shims go on."""
    import resource

    async with opened_launcher() as launcher:
        gate = await launcher.reserve()
        while launcher.idle() is not None:
            pass
        assert launcher._process is not None
        pid = launcher._process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, before[1]))
        refused: list[str] = []
        for _ in range(20):  # a few shims were on their way
            try:
                await launcher.reserve()
            except LaunchError as error:
                refused.append(str(error))
        assert len(refused) > 10
        assert {"no process could be started: Too many open files" in one for one in refused} == {True}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert (await end_of((await launcher.reserve()).open(launch(tmp_path / "a", "true")))).code == 0
        assert (await end_of(gate.open(launch(tmp_path / "b", "false")))).code == 1
        assert launcher._process.pid == pid


class Refused(ShimLauncher):
    """A launcher that cannot make a shim at first."""

    refusals = 2

    async def reserve(self) -> Gate:
        if self.refusals:
            self.refusals -= 1
            raise LaunchError("no process could be started: Resource temporarily unavailable")
        return await super().reserve()

    def idle(self) -> Gate | None:
        return None


async def test_a_machine_that_is_full_for_a_moment_costs_no_task_a_try(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider rests; nothing fails, and the supervisor goes on."""
    monkeypatch.setattr(retry, "REST_FIRST", 0.05)
    async with Supervisor(place.state, launcher=Refused()) as supervisor:
        report = await ended(await supervisor.submit(plan_of({"a": sh(MARKING), "b": sh(MARKING)})))
    assert report.counts["done"] == 2
    retried = place.events(ev.RetryScheduled)
    assert [(event.result.outcome.kind, event.uses_try) for event in retried] == [("outage", False)] * 2
    assert "Resource temporarily unavailable" in retried[0].result.outcome.detail
    assert len(place.lines()) == 2
