"""Ctrl-C and SIGTERM, answered between two training steps, where everything can be saved."""

import logging
import signal
import threading

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # schedulers announce the end of a job with SIGTERM


class StopRequest:
    """While active, a first signal only sets ``requested``; a second one interrupts at once.

    Outside of the main thread, and in a run of several processes, which would have to agree on a step,
    signals do what they always do.
    """

    def __init__(self, config):
        single = config["single_spec"] is None or config["single_spec"]
        self.active = bool(single) and threading.current_thread() is threading.main_thread()
        self.requested = False

    def __enter__(self) -> "StopRequest":
        if self.active:
            self.before = [signal.signal(number, self._request) for number in SIGNALS]
        return self

    def __exit__(self, *_) -> None:
        if self.active:
            for number, handler in zip(SIGNALS, self.before, strict=True):
                signal.signal(number, handler)

    def _request(self, number: int, frame) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        logger.warning("%s: stopping after this step; once more stops at once", signal.Signals(number).name)

    def raise_if_requested(self) -> None:
        """Raises KeyboardInterrupt if a signal has come."""
        if self.requested:
            raise KeyboardInterrupt
