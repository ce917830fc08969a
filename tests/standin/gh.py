"""A stand-in for GitHub's `gh`: a repository's pull requests in a JSON file, and the calls that we make, no others.

``GH_STANDIN`` names the file. In it `hold` is the beginning of a call (``POST issues/12/labels``) that waits, before it
does anything, for the file ``go`` beside it; ``held`` is there meanwhile. `says` are answers to calls by their
beginning: exit code, standard output, standard error.
"""

import fcntl
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

STATE = Path(os.environ["GH_STANDIN"])
Json = dict[str, Any]


def fail(code: int, text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def option(words: list[str], name: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), "")


def pull_in(state: Json, reference: str) -> Json:
    number = reference.rpartition("/")[2]
    if number not in state["pulls"]:
        fail(1, "GraphQL: Could not resolve to a PullRequest with the number of 99. (repository.pullRequest)")
    pull: Json = state["pulls"][number]
    return pull


def view(state: Json, words: list[str]) -> None:
    pull = pull_in(state, words[2])
    assert option(words, "jq").startswith(".comments |= map(select(.body")
    print(json.dumps({name: pull[name] for name in option(words, "json").split(",")}))


def listed(state: Json, words: list[str]) -> None:
    head = option(words, "head")
    found = [one for one in state["pulls"].values() if one["headRefName"] == head and one["isDraft"]]
    print(json.dumps([{name: one[name] for name in option(words, "json").split(",")} for one in found]))


def comment(state: Json, words: list[str]) -> None:
    body = sys.stdin.read()
    said = {"body": body, "authorAssociation": "MEMBER", "viewerDidAuthor": True, "author": {"login": "me"}}
    pull_in(state, words[2])["comments"].append(said)
    print(f"{words[2]}#issuecomment-1")


def ready(state: Json, words: list[str]) -> None:
    pull_in(state, words[2])["isDraft"] = False


def api(state: Json, words: list[str]) -> None:
    method, path = option(words, "method"), unquote(words[-1])
    place = f"repos/{state['repo']}/"
    assert option(words, "hostname") == "github.com"
    assert path.startswith(place), path
    path = path.removeprefix(place)
    if path == "labels" and method == "POST":
        state["labels"].append(json.load(sys.stdin))
    elif path.startswith("labels/"):
        if path.removeprefix("labels/") not in [one["name"] for one in state["labels"]]:
            fail(1, "gh: Not Found (HTTP 404)")
    else:
        found = re.fullmatch(r"issues/(\d+)/labels(?:/(.+))?", path)
        assert found, path
        labels = state["pulls"][found[1]]["labels"]
        if method == "POST":
            known = [one["name"] for one in state["labels"]]
            for name in json.load(sys.stdin)["labels"]:
                if name not in known:
                    fail(1, f"gh: there is no label {name}")
                if {"name": name} not in labels:
                    labels.append({"name": name})
        elif {"name": found[2]} in labels:
            labels.remove({"name": found[2]})
        else:
            fail(1, "gh: Label does not exist (HTTP 404)")


VERBS = {"view": view, "list": listed, "comment": comment, "ready": ready}


def call(words: list[str]) -> str:
    """The call in a word or two, for `hold` and `says`."""
    if words[0] != "api":
        return " ".join(words[:2])
    return f"{option(words, 'method')} {unquote(words[-1]).partition('/')[2].partition('/')[2].partition('/')[2]}"


def main() -> None:
    words = sys.argv[1:]
    assert os.environ["GH_PROMPT_DISABLED"] == "1"
    name = call(words)
    if hold := json.loads(STATE.read_text()).get("hold"):
        while name.startswith(hold) and not (STATE.parent / "go").exists():
            (STATE.parent / "held").touch()
            time.sleep(0.02)
    with STATE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(STATE.read_text())
        state.setdefault("calls", []).append(name)
        said = next((found for begin, found in state.get("says", {}).items() if name.startswith(begin)), None)
        try:
            if said is not None:
                sys.stdout.write(said[1])
                fail(said[0], said[2])
            elif words[0] == "pr":
                VERBS[words[1]](state, words)
            else:
                api(state, words)
        finally:
            new = STATE.with_suffix(".new")
            new.write_text(json.dumps(state))
            new.replace(STATE)


if __name__ == "__main__":
    main()
