"""Run the command line with ``python -m RTPlanningLib.cli``."""

import sys

from RTPlanningLib.cli.program import main

sys.exit(main())
