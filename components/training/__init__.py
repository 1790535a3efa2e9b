"""Samples to model: one loop for every objective, on one process or many."""
