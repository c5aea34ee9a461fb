"""What the benchmarks of generators share."""
