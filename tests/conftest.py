"""Hypothesis profiles: ``HYPOTHESIS_PROFILE=thorough`` looks longer, and at something new each time."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["promises", "e2e"]

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100)
settings.register_profile("thorough", deadline=None, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
