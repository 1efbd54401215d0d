"""What the benchmarks train and who trains it: nnexp's engine and its peers."""
