"""The program with the toy in its registry: `python -m tests.toy.launch run --config FILE`.

The registry is replaced before anything else reads it, as if its one line stood in the source.
"""

import sys

from sidecar import dialects
from tests.toy.dialect import DIALECT

dialects.DIALECTS = (*dialects.DIALECTS, DIALECT)

from sidecar.cli.main import main  # noqa: E402 - it must find the toy

if __name__ == "__main__":
    sys.exit(main())
