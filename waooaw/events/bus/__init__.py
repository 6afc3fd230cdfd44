"""The bus over an engine: publishing, streams, reading the store, upkeep."""
