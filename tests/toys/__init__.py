"""Kinds of sources and targets that exist to show how little one takes."""
