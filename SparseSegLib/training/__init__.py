"""What all trainings share: losses, a budget, a schedule, averaged weights, checkpoints, the loop of steps."""
