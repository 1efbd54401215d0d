"""The rows of benchmarks/cuda.py."""
