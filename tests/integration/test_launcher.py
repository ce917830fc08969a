"""What an agent gets when it is launched, and how its end is told; with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from processes import end_of, finished, launch, opened, said, shell

from daplug_supervisor.core.results import Exit
from daplug_supervisor.processes.launch import ShimLauncher

PROBE = """
import json, os, signal
ignored = [number for number in range(1, 65) if signal.getsignal(number) == signal.SIG_IGN]
print(json.dumps({
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1], "umask": os.umask(0), "cwd": os.getcwd(),
    "group": os.getpgid(0) == os.getpid(), "session": os.getsid(0), "ignored": ignored,
    "blocked": [int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])], "env": dict(os.environ),
    "stdin": os.read(0, 10).decode(), "parent": os.getppid(),
}))
"""


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ShimLauncher]:
    async with opened() as launcher:
        yield launcher


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 255", 255),
        ("kill -9 $$", -9),
        ("kill -TERM $$", -15),
        ("kill -SEGV $$", -11),
    ],
)
async def test_exit_codes_and_signals(launcher: ShimLauncher, tmp_path: Path, text: str, code: int) -> None:
    found = await finished(launcher, shell(tmp_path, f"ulimit -c 0; {text}"))
    assert found == Exit(code, seconds=found.seconds, cpu=found.cpu, max_rss=found.max_rss)
    assert 0 < found.seconds < 10
    assert found.max_rss > 100_000
    record = json.loads((tmp_path / "process.json").read_bytes())
    assert (record["state"], record["code"], record["mark"]) == ("exited", code, f"token of {tmp_path}")


async def test_what_the_agent_is_given(launcher: ShimLauncher, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with opened() as own:
            what = launch(
                tmp_path / "a", sys.executable, "-c", PROBE, cwd=str(tmp_path), env={"GREETING": "hello"}
            )
            gate = await own.reserve()
            await end_of(gate.open(what))
            told = json.loads((tmp_path / "a" / "stdout.log").read_text())
    finally:
        os.umask(before)
    assert told["fds"] == [0, 1, 2], "nothing of ours is open in the agent"
    assert told["stdin"] == ""
    assert told["cwd"] == str(tmp_path)
    assert told["umask"] == 0o027
    assert told["group"]
    assert told["session"] == told["parent"] == gate.identity.pid
    assert told["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ], (
        "Python itself ignores these two, and no other"
    )
    assert told["blocked"] == []
    assert told["env"]["GREETING"] == "hello"
    assert told["env"]["PATH"] == os.environ["PATH"]
    for name in ("stdout.log", "stderr.log", "process.json"):
        assert stat.S_IMODE((tmp_path / "a" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


async def test_a_broken_pipe_ends_a_shells_writer_as_usual(launcher: ShimLauncher, tmp_path: Path) -> None:
    await finished(launcher, shell(tmp_path, "grep SigIgn /proc/self/status; (yes; echo $? >&2) | head -1"))
    ignored = (tmp_path / "stdout.log").read_text().split()[1]
    assert not int(ignored, 16) & 0x7FFFFFFF, "above 31 are the C library's own"
    assert (tmp_path / "stderr.log").read_text() == f"{128 + signal.SIGPIPE}\n"


async def test_output_goes_to_files(launcher: ShimLauncher, tmp_path: Path) -> None:
    await finished(launcher, shell(tmp_path, "printf 'a\\0\\377b'; printf err >&2"))
    assert (tmp_path / "stdout.log").read_bytes() == b"a\0\xffb"
    assert (tmp_path / "stderr.log").read_bytes() == b"err"


async def test_arguments_reach_the_agent_as_they_are(launcher: ShimLauncher, tmp_path: Path) -> None:
    odd = (
        "",
        " ",
        "a b",
        "$HOME",
        "`id`",
        "\n",
        "\x01\x7f",
        "ä\U0001f600",
        os.fsdecode(b"\xff\xfe"),
        "-n",
        "*",
    )
    show = f"import os, sys; open({str(tmp_path / 'told')!r}, 'wb').write(b'|'.join(map(os.fsencode, sys.argv[1:])))"
    assert (await finished(launcher, launch(tmp_path, sys.executable, "-c", show, *odd))).code == 0
    assert (tmp_path / "told").read_bytes() == b"|".join(map(os.fsencode, odd))


async def test_programs_are_found_on_the_path_that_they_will_have(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "agent").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "agent").write_text("not executable")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "agent").write_text("#!/bin/sh\nexit 42\n")
    (tmp_path / "good" / "agent").chmod(0o755)
    path = ":".join(str(tmp_path / name) for name in ("bin", "plain", "none", "good"))
    assert (await finished(launcher, launch(tmp_path / "1", "agent", env={"PATH": path}))).code == 42
    assert (await finished(launcher, launch(tmp_path / "2", "sh", "-c", "exit 43"))).code == 43
    here = launch(tmp_path / "3", "./agent", cwd=str(tmp_path / "good"))
    assert (await finished(launcher, here)).code == 42
    empty = launch(tmp_path / "4", "agent", cwd=str(tmp_path / "good"), env={"PATH": ":/none"})
    assert (await finished(launcher, empty)).code == 42, "an empty entry is the working directory"


async def test_what_cannot_be_started_says_why(launcher: ShimLauncher, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    long, wide = "x" * 3000, "ä\U0001f600" * 200
    for number, (what, why) in enumerate(
        [
            (("no-such-program",), "no-such-program: not found on PATH"),
            (("/no/such/program",), "/no/such/program: No such file or directory"),
            ((str(tmp_path / "text"),), f"{tmp_path}/text: Permission denied"),
            ((str(tmp_path),), f"{tmp_path}: Permission denied"),
            (("a\0b",), "embedded null"),
            (("/bin/echo", "\0"), "embedded null"),
            (("/bin/echo", "\ud800"), "surrogates not allowed"),
            (("/bin/echo", "x" * 3_000_000), "/bin/echo: Argument list too long"),
            ((f"/{long}",), "xxxxx"),
            ((f"/{wide}",), "ä\U0001f600ä"),
        ]
    ):
        found = await finished(launcher, launch(tmp_path / str(number), *what))
        assert (found.code, found.known, found.stopped) == (None, True, ""), what
        assert why in found.error, found
        assert len((tmp_path / str(number) / "process.json").read_bytes()) == 1024
    found = await finished(launcher, shell(tmp_path / "cwd", "true", cwd="/no/such/place"))
    assert found == Exit(None, error="working directory /no/such/place: No such file or directory")
    found = await finished(launcher, shell(tmp_path / "env", "true", env={"A=B": "c"}))
    assert "illegal environment variable name" in found.error
    found = await finished(launcher, shell(Path("/proc/no/such"), "true"))
    assert "/proc/no" in found.error
    assert (await finished(launcher, shell(tmp_path / "after", "exit 9"))).code == 9, (
        "the shim is as good as before"
    )


async def test_a_large_environment_gets_through(launcher: ShimLauncher, tmp_path: Path) -> None:
    env = {f"V{number}": "x" * 100_000 for number in range(15)}
    counting = launch(
        tmp_path, sys.executable, "-c", "import os; print(sum(map(len, os.environ.values())))", env=env
    )
    assert (await finished(launcher, counting)).code == 0
    assert int((tmp_path / "stdout.log").read_text()) > 1_500_000


async def test_a_stop_that_comes_while_the_message_is_on_its_way(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    env = {f"V{number}": "x" * 100_000 for number in range(15)}
    gate = await launcher.reserve()
    attached = gate.open(shell(tmp_path, "sleep 1000", env=env, grace=60.0))
    attached.stop()
    assert (await end_of(attached)).stopped == "request"


async def test_a_repository_cannot_put_its_own_modules_into_the_shim(tmp_path: Path) -> None:
    for name in ("json", "socket", "marshal", "select", "site", "sitecustomize", "shim", "main"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        async with opened() as launcher:
            found = await finished(launcher, launch(tmp_path / "a", "\U0001f600", cwd=str(tmp_path)))
            assert found.error == "\U0001f600: not found on PATH"
    finally:
        os.chdir(before)


async def test_the_agents_own_files_are_not_disturbed_by_the_cap(
    launcher: ShimLauncher, tmp_path: Path
) -> None:
    text = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 0"
    await finished(launcher, shell(tmp_path, text, output_limit=1000))
    data = (tmp_path / "stdout.log").read_bytes()
    whole = b"".join(b"line %d\n" % number for number in range(3000))
    marker = b"\n[... %d bytes left out ...]\n" % (len(whole) - 1000)
    assert data == whole[:500] + marker + whole[-500:]
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.skipif(shutil.disk_usage("/tmp").free < 2 << 30, reason="little room")
async def test_disk_use_is_bounded_while_the_output_grows(launcher: ShimLauncher, tmp_path: Path) -> None:
    flood = "head -c 40000000 /dev/zero | tr '\\0' x; touch full; sleep 1000"
    gate = await launcher.reserve()
    attached = gate.open(shell(tmp_path, flood, cwd=str(tmp_path), output_limit=1 << 20))
    await said(tmp_path / "full", "")
    output = tmp_path / "stdout.log"
    with anyio.fail_after(10):
        while output.stat().st_blocks * 512 > 2 << 20:
            await anyio.sleep(0.05)
    assert output.stat().st_size == 40_000_000, "offsets stay while it is written"
    attached.stop()
    assert (await end_of(attached)).code == -15
    data = output.read_bytes()
    assert len(data) < (1 << 20) + 100
    assert b"\n[... 38951424 bytes left out ...]\n" in data
    assert data.strip(b"x").startswith(b"\n[")
