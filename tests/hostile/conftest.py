"""The processes and servers of tests/integration, for the slow tests here."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))
