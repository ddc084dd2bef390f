"""Which items: what touch and the source `table:` share."""
