"""Whether members can be answered. Knows checks and verdicts; knows nothing of names or clients."""
