"""Engine profiles fitted to measurements, and scored on them."""
