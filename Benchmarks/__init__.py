"""Benchmarks of accuracy and speed: ``python Benchmarks`` lists them."""
