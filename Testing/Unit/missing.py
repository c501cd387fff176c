"""What a test does where something that it needs is not there."""

from __future__ import annotations

import os
import shutil

import pytest

IN_CI = os.environ.get("CI") == "true"


def missing(reason: str) -> None:
    """Fail where everything has to be there (CI), skip with the reason on a user's machine."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def needs_command(command: str, debian_package: str) -> None:
    """See to it that a program of another hand is there."""
    if shutil.which(command) is None:
        missing(f"{command} is not installed; on Debian and Ubuntu: apt-get install {debian_package}")
