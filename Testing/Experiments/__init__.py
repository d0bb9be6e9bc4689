"""Reproductions of papers, and trainings of the shipped models: ``python Testing/Experiments`` lists them."""
