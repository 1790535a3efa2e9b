"""The work of Headwater: plain Python, which knows nothing of the flow that orders it."""
