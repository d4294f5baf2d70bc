"""Settings of all tests of this repository."""

import signal

from hypothesis import settings

# A shell starts background jobs with SIGINT ignored, and children inherit that: what is tested with Ctrl-C must not
# depend on how the tests were started.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more about what else the machine does than about the code; what has to be quick is
# held by benchmarks and by assertions of its own.
settings.register_profile("newbon", deadline=None)
settings.load_profile("newbon")
