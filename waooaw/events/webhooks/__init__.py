"""Deliveries by HTTP request: receivers that are called, safely for them and for us."""
