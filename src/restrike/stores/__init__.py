"""Where an archive lies: a folder on this machine's disk, or a bucket. The only place that knows obstore."""
