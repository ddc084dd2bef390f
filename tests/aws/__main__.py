"""`python -m tests.aws`."""

import sys

from tests.aws.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
