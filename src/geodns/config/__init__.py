"""YAML to `Config`. Knows files, positions and complaints; knows nothing of what is served."""
