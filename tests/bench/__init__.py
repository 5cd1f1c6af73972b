"""What is promised, measured: `python -m tests.bench [name ...]`. See docs/benchmarks.md."""
