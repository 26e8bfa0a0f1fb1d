"""DNS in octets. Knows the formats; knows nothing of zones, services or sockets."""
