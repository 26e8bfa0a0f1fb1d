"""Configuration, databases and health to the parts of a snapshot. Slow and careful; nothing here serves."""
