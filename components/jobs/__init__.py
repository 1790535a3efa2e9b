"""Steps as Ray jobs: submitted once, followed by as many runs as want them, stopped by the last."""
