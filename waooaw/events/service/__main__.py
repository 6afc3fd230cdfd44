"""``python -m waooaw.events.service``: the service alone, by environment variables."""

from __future__ import annotations

import os
import sys

from waooaw.events.errors import StartupError
from waooaw.events.service.run import run_service
from waooaw.events.settings import load_settings, unknown_variables


def main() -> int:
    """Run the service; say in one sentence why it cannot start."""
    try:
        return run_service(load_settings(os.environ), unread_variables=unknown_variables(os.environ))
    except StartupError as error:
        sys.stderr.write(f"wowevent: {error.detail}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
