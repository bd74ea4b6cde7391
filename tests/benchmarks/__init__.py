"""Compare the lab with its peers. `python -m tests.benchmarks.NAME` prints a table; short forms run as tests."""
