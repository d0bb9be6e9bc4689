"""What every training here shares: losses, a budget, a schedule, averaged weights, checkpoints, the loop of steps."""
