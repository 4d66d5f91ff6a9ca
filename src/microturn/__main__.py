"""`python -m microturn` is `microturn`."""

import sys

from microturn.cli import main

sys.exit(main())
