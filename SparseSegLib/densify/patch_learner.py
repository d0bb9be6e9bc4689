class PatchLearner: pass
