"""Thin adapters between sockets and `answer`. They decide nothing."""
