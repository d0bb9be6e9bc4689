"""Benchmarks of accuracy and speed: ``python Testing/Benchmarks`` lists them."""
