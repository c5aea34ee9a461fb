"""Measurements of fundus pictures that the benchmarks of the generator share; the same code for real and drawn eyes."""
