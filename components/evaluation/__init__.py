"""Export to report: held-out likelihood beside simple baselines, sampled texts, tasks; and the gate."""
