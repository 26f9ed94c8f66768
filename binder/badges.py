#!/usr/bin/env python3
"""Write the README's Binder badges, one for each tutorial: `python3 binder/badges.py OWNER/REPOSITORY`, or `make badges REPO=…`.

A badge needs the public address of the repository, which the repository itself does not know: whoever publishes it, or a copy of
it, runs this once. The lines between the two markers in README.md are replaced; `--check` says whether they fit the notebooks.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- badges: binder/badges.py -->", "<!-- end of badges -->"
BINDER = "https://mybinder.org"


def title(path):
    """The first heading of a notebook."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        found = (
            re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE) if cell["cell_type"] == "markdown" else None
        )
        if found:
            return found.group(1).strip()
    return path.stem


def badges(repository, branch, here):
    """The lines between the markers."""
    lines = []
    for path in sorted((here / "notebooks").glob("*.ipynb")):
        place = quote(f"lab/tree/notebooks/{path.name}", safe="")
        link = f"{BINDER}/v2/gh/{repository}/{branch}?urlpath={place}"
        lines.append(f"- [![Binder]({BINDER}/badge_logo.svg)]({link}) [{title(path)}](notebooks/{path.name})")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Write the README's Binder badges.")
    parser.add_argument("repository", help="OWNER/REPOSITORY, as GitHub spells it")
    parser.add_argument(
        "--branch", default="HEAD", help="branch, tag or commit that the badges open (the default branch)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the badges are not up to date"
    )
    chosen = parser.parse_args()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", chosen.repository):
        parser.error(f"{chosen.repository!r} is not of the form OWNER/REPOSITORY")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md lacks the line {BEGIN!r}, or {END!r} after it: put them where the badges are to be.")
    new = f"{before}{BEGIN}\n{badges(chosen.repository, chosen.branch, HERE)}\n{END}{after}"
    if not chosen.check:
        readme.write_text(new, encoding="utf-8")
    return int(chosen.check and new != text)


if __name__ == "__main__":
    sys.exit(main())
