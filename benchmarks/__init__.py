"""Benchmarks: the training loop beside other loops, each method's loss, start-up, large images, the paper's runs.

`python -m benchmarks` runs them. What is compared takes turns, and only ratios of neighbouring turns are comparable;
see benchmarks/rounds.py.
"""
