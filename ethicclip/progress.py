"""The seam through which long work reports how far it is; the command line shows it on stderr.

Library code takes ``progress: Progress = SILENT`` and never prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One bar or one series of lines."""

    def advance(self, steps: int = 1) -> None:
        """Say that `steps` more units are done."""

    def note(self, text: str) -> None:
        """Say a short word on the current state, such as a loss."""


class Progress(Protocol):
    """Opens tasks, says lines."""

    def task(self, label: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """A context manager that yields a `Task`."""

    def say(self, text: str) -> None:
        """One line for the user that stays on the screen."""


class _SilentTask:
    def advance(self, steps: int = 1) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""


class Silent:
    """Reports nothing; the default of every library function."""

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Yield a task that shows nothing."""
        yield _SilentTask()

    def say(self, text: str) -> None:
        """Nothing is shown."""


SILENT: Progress = Silent()
