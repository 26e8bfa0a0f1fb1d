"""Where addresses are. Knows databases and distances; knows nothing of services."""
