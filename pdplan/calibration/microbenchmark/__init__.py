"""Short timings of operators on the accelerator at hand, through PyTorch."""
