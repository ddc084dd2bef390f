"""Programs of people who use the Python API; a type checker reads them as strictly as their owners may."""
