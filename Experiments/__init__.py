"""Reproductions of papers, and trainings of the models that come with SparseSeg: ``python Experiments`` lists them."""
