"""`python -m homing.cli`, the same as `homing`."""

import sys

from homing.cli import main

sys.exit(main())
