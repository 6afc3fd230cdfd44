"""The bus over HTTP: what ``connect("http://…")`` gives."""
