"""What fields mean, in words: for the tables that `generate.py` makes. A field without words stops the build."""

from __future__ import annotations

FIELD_WORDS: dict[str, dict[str, str]] = {
    "PlanFile": {
        "tasks": "The tasks by their ids.",
        "name": "The plan's name; runs are called `<name>-1`, `<name>-2`. Default: the file's name.",
        "version": "Of the plan format.",
        "providers": "The pools, by their ids; built-in ones need no entry.",
        "defaults": "What tasks take over unless they say otherwise.",
        "on_failure": "`continue`: what needs a failed task stays blocked, the rest goes on. "
        "`halt`: nothing more is started.",
        "timeout": "For the whole run, as long as something is at work: waiting for a provider does not count. "
        "When it is over nothing more is started, what runs may finish, and the exit code is 124.",
        "budget": "What the whole run may spend; reaching it halts the run before the next start.",
        "pass_env": "Variables of the supervisor's environment that every attempt gets, beside those of the list: "
        "names, or beginnings such as `MYAPP_*`.",
        "hooks": "Commands of yours after each task, and after the run.",
    },
    "Task": {
        "title": "For people.",
        "prompt": "A daplug prompt: number, `folder/number`, a part of its name, or a path.",
        "instructions": "The prompt's text itself.",
        "command": "A program and its arguments, run without a shell.",
        "needs": "The tasks that must be done or skipped before. `blocked_by` is accepted too.",
        "provider": "The pool that runs it. Default: that of `defaults`, or the only one declared; "
        "commands run in `local`.",
        "model": "Another model than the provider's.",
        "cli": "Another command-line tool for the model.",
        "variant": "Effort, where the model has that.",
        "priority": "Larger goes first among tasks that are ready.",
        "timeout": "For one attempt. Its process tree is ended and the attempt counts as a timeout.",
        "idle_timeout": "How long an attempt may show no sign of work: no output, no changed file, no processor time. "
        "Then it is ended and counts as silent. 0: for ever.",
        "grace": "Between asking a process tree to end and killing it.",
        "retry": "How often it is tried.",
        "fallback": "Whether it may move to its provider's `fallback`. Default: yes.",
        "budget": "What all its attempts together may spend; reaching it makes the task stuck instead of trying again.",
        "loop": "daplug's verification loop, inside one attempt.",
        "worktree": "A git worktree and a branch of its own, `.worktrees/RUN-TASK` and `daplug/RUN-TASK`.",
        "base": "What the worktree branches from. Default: HEAD.",
        "on_conflict": "What to do if that name is taken: make the task stuck, take it over, make another, "
        "or remove what is there after saving it under a ref.",
        "setup": "A program and its arguments that gets the task's directory ready before its agent starts.",
        "setup_timeout": "For `setup`, inside the time of the attempt.",
        "sandbox": "daplug's sandbox around the agent, or one of its profiles.",
        "require_diff": "Without a change to files nothing counts as complete; needs a git repository.",
        "accept": "What has to hold when it is done: commands that we run ourselves after every attempt.",
        "fix_rounds": "How often work that does not pass goes back to an agent with what was found.",
        "inputs": "Values for it, by name; `${task.outputs.field}` stands for what an earlier task handed on.",
        "outputs": "Names of the values that it hands on, in its result.",
        "result": "An attempt must hand in a result file; implied by `outputs`.",
        "files": "What it may change: paths and git's patterns.",
        "commit": "The one commit that keeps its work.",
        "land": "Work in its own worktree is merged onto the run's branch once it is verified.",
        "rollback": "In a shared checkout, a failed attempt's files are put back as they were, after they were saved.",
        "cwd": "Where it works, below the directory of the run.",
        "env": "Environment variables, added to those that are handed on.",
        "estimate": "How long it may take; used for the critical path and thereby for the order of starts. "
        "Who is silent after twice as long is ended, unless `idle_timeout` says otherwise.",
        "owner": "For people.",
        "labels": "For people.",
    },
    "Provider": {
        "model": "daplug's shorthand of the model. Default: the provider's name.",
        "parallel": "How many attempts at once.",
        "worker": "`executor` (daplug's executor.py), `command`, or one that a package brings along.",
        "cli": "The command-line tool that runs the model, if not the model's own.",
        "variant": "Effort, where the model has that.",
        "fallback": "Providers that take over, in this order, while this one rests or is stopped.",
        "account": "Providers with the same account rest together. Default: what their worker knows.",
        "env": "Environment variables for its attempts.",
        "pass_env": "As for the file, for the attempts of this provider.",
        "options": "Passed to a third-party worker as it is.",
    },
    "Criterion": {
        "run": "A line for the shell, or a list of a program and its arguments.",
        "name": "What to call it; the command unless given.",
        "expect_exit": "The exit code that it must have.",
        "expect_output": "A text that it must print.",
        "timeout": "For how long it may run; then it does not hold.",
        "category": "What it looks at, for reports.",
    },
    "Commit": {
        "message": "Its subject; may have a body. `<task>: <title>` unless given.",
        "files": "What it takes, as in `files` of the task, which it defaults to.",
        "when": "`always`, or a line for the shell that must succeed.",
        "push": "Send it on to where the branch is pushed to.",
    },
    "Hooks": {
        "post_task": "Run after each task that ended; `DAPLUG_TASK` and `DAPLUG_STATUS` say how.",
        "post_run": "Run after the run has finished or was halted.",
        "timeout": "For how long each may run.",
    },
    "Budget": {
        "tokens": "Tokens in both directions, as the CLIs report them.",
        "cost": "US dollars, as the CLIs report them.",
        "attempts": "Tries; those that a provider's limit cut short do not count.",
    },
    "Retry": {
        "attempts": "How many tries; not every failure uses one up.",
        "backoff": "The longest wait before the second try; it doubles with each try.",
        "max_backoff": "The longest wait at all.",
    },
    "Loop": {
        "max_iterations": "How many iterations one attempt may take.",
        "completion_marker": "What the agent prints when it is done. Default: a random one for each attempt.",
    },
}

STATE_WORDS: dict[str, dict[str, str]] = {
    "TaskState": {
        "id": "From the plan.",
        "order": "Place in the plan.",
        "provider": "The pool that it waits for or runs in: its present owner.",
        "status": "See the state machine.",
        "unmet": "How many needs are neither done nor skipped; 0 means ready.",
        "rank": "Seconds (or tasks) of the longest chain that begins here.",
        "ticket": "Tells a queue entry that has been replaced from the current one.",
        "tries": "Tries used up.",
        "lost": "Attempts lost in a row.",
        "moved": "A fallback has it.",
        "rerouted": "It was given to another provider for its own outcome.",
        "not_before": "When the backoff ends.",
        "changed_at": "When it came into its status.",
        "attempt": "The current or last attempt.",
        "past": "All ended attempts.",
        "cancelling": "It is being stopped to be cancelled.",
        "reason": "Why a person, or the rules, put it where it is.",
        "remedy": "What a person can do about it.",
    },
    "Attempt": {
        "number": "Counts from 1 and never again, over restarts and resets.",
        "token": "Unique in the world; handed to every process of the attempt.",
        "provider": "Who runs it.",
        "at": "When it was decided on.",
        "spawned_at": "When a shim held it.",
        "pid": "Of its shim.",
        "start": "The shim's start time: tells it from a later process with the same pid.",
        "boot": "The boot that pid and start time belong to.",
        "deadline": "On the machine's monotonic clock.",
    },
    "Past": {
        "number": "Of the attempt.",
        "provider": "Who ran it.",
        "at": "When it began.",
        "ended_at": "When it ended.",
        "result": "How it ended.",
    },
    "Result": {"outcome": "What the end was read as.", "exit": "What the kernel said."},
    "Outcome": {
        "kind": "One of the failure kinds, or `completed`.",
        "detail": "Why, in one line.",
        "retry_at": "A time that the provider stated.",
        "claim": "What the agent says of itself. Kept, never believed.",
    },
    "Exit": {
        "code": "Exit code, or minus a signal's number.",
        "stopped": "Who ended it before its time.",
        "error": "Why it could not be started.",
        "seconds": "How long the tree lived.",
        "cpu": "Processor time of the agent and what it waited for.",
        "max_rss": "The most memory that one of its processes had.",
    },
}

EXIT_WORDS = {
    "EXIT_DONE": "All tasks are done or skipped; or the command did what was asked.",
    "EXIT_NOT_ALL_DONE": "The run has finished and some tasks are not done; `check-halt`: halted; "
    "`doctor`: something is wrong; `bundle`, `archive`: a bundle, a result or an archive may not be used.",
    "EXIT_USAGE": "The command line, the plan or the state directory cannot be used; nothing was changed. "
    "`bundle validate-integrity`: what the bundle was made from has changed since (drift).",
    "EXIT_HALTED": "The run is halted, and can be resumed; `pr`: another run works for the pull request, "
    "or it is blocked.",
    "EXIT_BUSY": "Another supervisor holds the state directory.",
    "EXIT_JOURNAL": "The journal is damaged, written by a newer version, or cannot be written.",
    "EXIT_RUN_TIMEOUT": "The run's own timeout is over.",
    "EXIT_HUP": "Ended by a hang-up: agents go on running, and the next start takes them back.",
    "EXIT_INT": "Halted by Ctrl-C.",
    "EXIT_QUIT": "Left by Ctrl-\\: agents go on running, and the next start takes them back.",
    "EXIT_TERM": "Halted by SIGTERM.",
}
