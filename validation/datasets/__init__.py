"""Public measurements as rows of `predict` with what was measured, one file a source."""
