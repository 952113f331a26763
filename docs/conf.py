"""Sphinx settings: MyST pages, furo, and tables generated from the code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(next(Path(__file__).parents[1].glob("tests/**/planted_profiles.py")).parent))  # runs in charts

import breedclf

project = "breedclf"
author = "the breedclf maintainers"
copyright = author
version = release = breedclf.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "from_code",
    "rule_charts",
    "benchmark_plots",
    "missed_goals",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext"]
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"breedclf {version}"
