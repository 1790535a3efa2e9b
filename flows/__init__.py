"""The order of the work: what runs after what, with retries and waits; no maths."""
