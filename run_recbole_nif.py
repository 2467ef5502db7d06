"""``python run_recbole_nif.py --model=AMEN --dataset=ml-100k``: the command line without an installation."""

import sys

from recbole_nif.cli import main

if __name__ == "__main__":
    sys.exit(main())
