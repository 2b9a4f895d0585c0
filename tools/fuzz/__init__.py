"""Thousands of bad inputs for the command line: ``PYTHONPATH=tools python -m fuzz --count 10000 --seed 1``."""
