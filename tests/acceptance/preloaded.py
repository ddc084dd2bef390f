"""What the server that forks `restrike` processes has made before it forks the first: the imports of the verbs and
botocore's descriptions of the services. The fork server imports it by its name."""

from __future__ import annotations

import gc

import restrike.capturing.plan
import restrike.cli.archive
import restrike.cli.capture
import restrike.cli.carrying
import restrike.cli.records
import restrike.cli.render.replay
import restrike.cli.render.touch
import restrike.cli.replay
import restrike.cli.runs
import restrike.cli.telling
import restrike.cli.touch
import restrike.replaying.plan
import restrike.touching.plan  # noqa: F401 — imported for what that makes
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings

_aws = Aws(AwsSettings(region="us-east-1", endpoint_url="http://127.0.0.1:9"))
for _service in ("dynamodb", "dynamodbstreams", "lambda", "sts"):
    _aws.client(_service)  # which asks nobody
# The forks share this memory as long as nobody writes to it, as the garbage collector does to all that it looks at.
gc.collect()
gc.freeze()
