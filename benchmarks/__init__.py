"""What is measured: our loop beside others', each method's loss, start-up, large images, the paper's runs on a GPU.

Everything that is compared takes turns, and only ratios of such neighbours mean anything; see benchmarks/rounds.py.
`python -m benchmarks` is the command.
"""
