"""Ctrl-C while messages are under way."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

_SECONDS_OF_ONE = 0.5  # timeout(1) sends its signal twice, to the program and to its group


class HeldSignals:
    """SIGINT and SIGTERM that have come and wait to be heeded.

    An exception out of the middle of a message would leave the rest of it in the pipe.
    """

    def __init__(self) -> None:
        self._came: list[tuple[int, float]] = []
        self._let_through: float | None = None
        self._handlers: dict[int, Callable[..., object]] = {}

    def let_through(self) -> None:
        """Do what the first of them would have done.

        Raises:
            KeyboardInterrupt: as the handler that was there before does.
        """
        if self._came:
            number = self._came[0][0]
            self._came.clear()
            self._let_through = time.monotonic()
            self._handlers[number](number, None)

    @property
    def again(self) -> bool:
        """Whether one has come after the first was let through: somebody is impatient."""
        if self._let_through is None:
            return False
        return any(when - self._let_through > _SECONDS_OF_ONE for _, when in self._came)

    def _hold(self, number: int, _: object) -> None:
        self._came.append((number, time.monotonic()))

    def _install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._hold)

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._hold:
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[HeldSignals]:
    """SIGINT and SIGTERM wait inside; only the main thread can hold them."""
    held = HeldSignals()
    if threading.current_thread() is threading.main_thread():
        held._install()
    try:
        yield held
    finally:
        held._restore()
