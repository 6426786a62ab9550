"""`python -m nucbook …` is the command `nucbook`; its chores work before anything is installed."""

import sys

from nucbook import house

if sys.argv[1:] and sys.argv[1] in house.CHORES and sys.argv[2:] == []:
    sys.exit(house.main(sys.argv[1]))

from nucbook.cli import app

app(prog_name="nucbook")
