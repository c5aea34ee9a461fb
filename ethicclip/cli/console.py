"""What a user sees: progress on stderr, results on stdout, errors that say what, where and what to do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ethicclip.errors import EthicClipError, ExitCode
from ethicclip.progress import Progress, Task

PLAIN_INTERVAL_S = 10.0


def console_progress(stream: TextIO | None = None) -> Progress:
    """A live bar on a terminal, a plain line every ten seconds otherwise."""
    target = sys.stderr if stream is None else stream
    return _RichProgress(target) if target.isatty() else _PlainProgress(target)


class _PlainTask:
    def __init__(self, stream: TextIO, label: str, total: int | None, unit: str) -> None:
        self._stream, self._label, self._total, self._unit = stream, label, total, unit
        self._done, self._note, self._spoke = 0, "", time.monotonic()
        self._began = self._spoke

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        if time.monotonic() - self._spoke >= PLAIN_INTERVAL_S:
            self.speak()

    def note(self, text: str) -> None:
        self._note = text

    def speak(self) -> None:
        self._spoke = time.monotonic()
        elapsed = self._spoke - self._began
        of = f"/{self._total}" if self._total else ""
        rate = f", {self._done / elapsed:.1f} a second" if elapsed > 1 and self._done else ""
        left = ""
        if self._total and 0 < self._done < self._total:
            left = f", about {elapsed / self._done * (self._total - self._done):.0f} s left"
        note = f", {self._note}" if self._note else ""
        print(f"{self._label}: {self._done}{of} {self._unit}{rate}{left}{note}", file=self._stream, flush=True)


class _PlainProgress:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        task = _PlainTask(self._stream, label, total, unit)
        yield task
        task.speak()

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _RichTask:
    def __init__(self, bars: Any, identity: Any) -> None:
        self._bars, self._identity = bars, identity

    def advance(self, steps: int = 1) -> None:
        self._bars.advance(self._identity, steps)

    def note(self, text: str) -> None:
        self._bars.update(self._identity, note=text)


class _RichProgress:
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._bars: Any = None
        self._open = 0

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        if self._open == 0:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self._console,
            )
            self._bars.start()
        self._open += 1
        identity = self._bars.add_task(escape(label), total=total, unit=unit, note="")
        try:
            yield _RichTask(self._bars, identity)
        finally:
            self._open -= 1
            if self._open == 0:
                self._bars.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Write the one JSON document of a ``--json`` call to stdout."""
    sys.stdout.write(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_lines(*lines: str) -> None:
    """Write result lines to stdout."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Text from files with control characters made visible, so that a file name cannot steer a terminal."""
    return "".join(ch if ch in "\n\t" or ch.isprintable() else f"\\x{ord(ch):02x}" for ch in text)


def print_error(error: EthicClipError, *, as_json: bool) -> None:
    """Tell of an error on stderr, and on stdout as JSON where the caller asked for that."""
    print(printable(f"error: {error}"), file=sys.stderr)  # noqa: T201
    if as_json:
        print_json(error_document(error.exit_code, error.what, error.details, error.next_step))


def error_document(code: ExitCode, what: str, details: tuple[str, ...] = (), next_step: str = "") -> dict[str, Any]:
    """The JSON form of an error."""
    return {
        "error": {"what": what, "details": list(details), "next_step": next_step, "kind": code.name.lower()},
        "exit_code": int(code),
    }
