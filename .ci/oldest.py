"""The oldest dependencies that pyproject.toml allows, as pip's requirements: python .ci/oldest.py EXTRA ..."""

import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)")


def main(extras):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for line in wanted:
        name, version = BOUND.fullmatch(line).groups()
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(sys.argv[1:])
