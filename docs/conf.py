"""The site of the docs: `make docs` builds it, and fails at a link that leads nowhere."""

import provisioner

project = "provision"
version = release = provisioner.__version__
html_title = f"provision {release}"
html_theme = "furo"
extensions = ["myst_parser"]
# Headings that links may lead to.
myst_heading_anchors = 3
nitpicky = True
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
# A decision is in the list of its folder and in no menu; a test follows all links from the README.
suppress_warnings = ["toc.not_included"]
