"""`python -m tunnel`: the same as `llm-tunnel`."""

import sys

from tunnel.cli import main

sys.exit(main())
