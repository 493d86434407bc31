"""What `scripts/benchmark.py` and `scripts/benchmark_gpu.py` measure: the published form of each work, and ours."""
