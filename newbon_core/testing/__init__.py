"""For tests of the core and of plugins: the simulator, the testbed, conformance suites, fixtures."""
