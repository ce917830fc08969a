"""What a supervisor, its launcher and its shims agree on: files, and what goes over the sockets."""

RECORD = "process.json"
OUTPUTS = ("stdout.log", "stderr.log")
RECORD_SIZE = 1024

REPLY_SIZE = 64
HEAD_SIZE = 4
FORK = b"f"
REFUSED = "! "
"""How a reply begins that says why there is no shim."""
