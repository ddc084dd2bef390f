"""All that talks to AWS, and the only place that knows botocore."""
