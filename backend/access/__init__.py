"""Gates and doors: who may pass now and why, which passages there were, how many people are inside."""
