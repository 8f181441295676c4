"""How the documentation is built: `make docs`. Pages with code are run while they are built, and fail the build."""

import os
import sys
from pathlib import Path

import homing

sys.path.insert(0, str(Path(__file__).parent / "extensions"))
# For the processes that run the pages: pictures go into the page, and tqdm asks for widgets that a page does not have.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"

project = "homing"
author = copyright = "The homing developers"
release = version = homing.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "docstrings",
    "mathml",
    "rooms",
    "commands",
]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "literal"  # docstrings write code in single backticks

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = os.environ.get("HOMING_DOCS_EXECUTION", "force")
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
suppress_warnings = ["myst-nb.lexer"] if nb_execution_mode == "off" else []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source", "Sources"]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "homing"
html_static_path = ["static"]
html_css_files = ["homing.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
