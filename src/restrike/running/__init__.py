"""What every run of every verb shares: the ledger, a run's life, and the wish to stop."""
