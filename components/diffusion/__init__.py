"""Text to pictures: the model that is trained, and drawing with what it is exported to. diffusers is used here only."""
