"""What unmark needs of IAM: the same as a touch."""

from restrike.touching.permissions import asked_of, needs

__all__ = ["asked_of", "needs"]
