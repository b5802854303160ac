"""Many sources, one vector (paper 3.2.2-3.2.3): encoders, and fusers that say what they weighed."""
