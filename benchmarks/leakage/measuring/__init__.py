"""What the benchmarks of the audit share: splits of real eyes, planted sets, peers, and a ladder of another hand."""
