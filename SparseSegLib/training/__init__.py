"""What every training here shares: a budget, a schedule, averaged weights, checkpoints, the loop around the steps."""
