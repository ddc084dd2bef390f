"""Where AWS is asked: what is known of it stays in this process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_credentials_are_not_pickled(send: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """It was pickled with the secret key in clear."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecretvalue")
    aws = Aws(AwsSettings(region="eu-west-1"))
    assert aws.credentials().secret_key == "verysecretvalue"
    with pytest.raises(TypeError, match="send its settings"):
        send(aws)
    assert pickle.loads(pickle.dumps(aws.settings)) == aws.settings
