"""Settings of the whole suite: how Hypothesis works on a busy machine, and that processes can be interrupted."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("suite")

# A script starts its background jobs with SIGINT ignored. Processes that tests start would inherit that, and a test
# that interrupts one would see it continue. Python's own handler becomes the default action in a new process.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
