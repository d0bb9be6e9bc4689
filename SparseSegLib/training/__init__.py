"""Shared by all trainings: losses, a budget, a schedule, averaged weights, checkpoints, the loop of steps."""
