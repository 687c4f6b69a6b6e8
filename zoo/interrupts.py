"""Ctrl-C and SIGTERM: both end the work by a ``KeyboardInterrupt``, at once or behind the step in progress."""

import os
import signal
import threading


class Terminated(KeyboardInterrupt):
    """SIGTERM came, which `docker stop`, `timeout`, Slurm and systemd send."""


def raise_on_sigterm() -> None:
    """Let SIGTERM raise :class:`Terminated` in the main thread, unless it is ignored or handled already."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def exit_status(interrupt: BaseException) -> int:
    """What a shell expects of a process that this ended: 143 for SIGTERM, 130 for Ctrl-C."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


class Deferred:
    """In the block a signal is only noted, since it may come in the middle of a step; a second Ctrl-C ends the block.

    Attributes:
        interrupt: what to raise at the next good moment; None while no signal came.
    """

    interrupt: KeyboardInterrupt | None = None

    def __init__(self):
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number, raising in (
                (signal.SIGINT, (signal.default_int_handler,)),
                (signal.SIGTERM, (signal.SIG_DFL, _terminate)),
            ):
                if signal.getsignal(number) in raising:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        if self.interrupt is None:
            self.interrupt = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
            os.write(2, b"stopping behind this step; Ctrl-C again stops at once\n")
        elif number == signal.SIGINT:  # not SIGTERM, which `timeout` sends twice
            raise self.interrupt


def _terminate(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would end the clearing up
    raise Terminated
