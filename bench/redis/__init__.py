"""The bus on Redis beside its peers on the same Redis: `python -m bench --engine redis`."""
