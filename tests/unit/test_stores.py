"""What a folder of the local disk says when it cannot be read: nothing of networks and endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from restrike.errors import UsageError
from restrike.stores.folder import LocalFolder


def test_a_folder_that_cannot_be_read_is_named_and_nothing_of_a_network_is_said(tmp_path: Path) -> None:
    """A link to itself, which nobody can open: not even root, whom rights do not stop."""
    (tmp_path / "hour=18").mkdir()
    (tmp_path / "hour=18" / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"hour=18.*[Ll]ink") as caught:
        LocalFolder(tmp_path, create=False).objects("hour=18")
    assert caught.value.exit_code == 2
    assert "network" not in caught.value.hint
