"""``python -m newbon_core`` is ``newbon``."""

from newbon_core.cli.main import main

main()
