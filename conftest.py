"""Settings of all tests of this repository."""

from hypothesis import settings

# How long one example takes says more about what else the machine does than about the code; what has to be quick is
# held by benchmarks and by assertions of its own.
settings.register_profile("newbon", deadline=None)
settings.load_profile("newbon")
