"""Benchmarks beside their peers: by hand `python -m tests.benchmarks.NAME`, in a short form as tests."""
