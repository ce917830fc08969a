"""How checks say what they expected."""

from __future__ import annotations

from typing import NoReturn


class Contract:
    """The contract of one plug-point: `expect` says what of it does not hold."""

    def __init__(self, of: str) -> None:
        self._of = of

    def expect(self, condition: object, expected: str) -> None:
        """Raise unless the condition holds.

        Raises:
            AssertionError: it does not.
        """
        if not condition:
            self.fail(expected)

    def fail(self, expected: str) -> NoReturn:
        """Say that something does not hold.

        Raises:
            AssertionError: always.
        """
        raise AssertionError(f"a {self._of}'s contract: {expected}")
