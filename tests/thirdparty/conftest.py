"""Installs the distributions beside this file, as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder into which pip installed every distribution of tests/thirdparty."""
    work = tmp_path_factory.mktemp("thirdparty")
    projects = sorted(path.parent for path in Path(__file__).parent.glob("*/pyproject.toml"))
    # Copies: building writes beside the sources.
    sources = [str(shutil.copytree(project, work / "src" / project.name)) for project in projects]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--no-build-isolation", "--target", str(work / "site"), *sources,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return work / "site"
