"""The worker `cli`: runs a prompt with a provider's own CLI. `worker` is the worker, the rest are its parts."""
