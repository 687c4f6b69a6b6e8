"""Ctrl-C and SIGTERM: both end the work by a ``KeyboardInterrupt``, at once or behind the step in progress."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Self


class Terminated(KeyboardInterrupt):
    """SIGTERM came, which `docker stop`, `timeout`, Slurm and systemd send."""


# Seconds.
PATIENCE = 2.0
# The last one of this process. Beam and some extension modules make an error of their own of a `KeyboardInterrupt`.
received: KeyboardInterrupt | None = None


def install() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, and Ctrl-C ``KeyboardInterrupt`` as before.

    A signal that is ignored stays so. Both are remembered in :data:`received`. Where they cannot be raised, because
    the main thread is in the code of a library (a codec), the process ends after :data:`PATIENCE`.
    """
    for number, handler in _DEFAULTS.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, _raise)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()


def exit_status(interrupt: BaseException) -> int:
    """The exit status that shells expect after this interrupt: 143 for SIGTERM, 130 for Ctrl-C."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


class Deferred:
    """In the block a signal is only noted, since it may come in the middle of a step; a second Ctrl-C ends the block.

    Attributes:
        interrupt: what to raise at the next good moment; None while no signal came.
    """

    interrupt: KeyboardInterrupt | None = None

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) in (default, _raise):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.interrupt is None:
            self.interrupt = _interrupt(number)
            os.write(2, b"stopping behind this step; Ctrl-C again stops at once\n")
        elif number == signal.SIGINT:  # not SIGTERM, which `timeout` sends twice
            raise self.interrupt


def _interrupt(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _raise(number: int, _: FrameType | None) -> None:
    global received
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)  # a second one would end the clearing up
    received = _interrupt(number)
    raise received


def _watch(reading: int) -> None:
    """End the process if a signal has come and its handler does not run."""
    while numbers := os.read(reading, 1):
        number = numbers[0]
        time.sleep(PATIENCE)
        if received is None and signal.getsignal(number) is _raise:
            os.write(2, b"interrupted\n")
            os._exit(128 + number)


_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
