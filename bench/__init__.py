"""Measurements of the service from outside, over real sockets: `python -m bench`."""
