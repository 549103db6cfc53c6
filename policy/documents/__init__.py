"""What people write: THE schema, one file per kind, and its only reader.

`parse` takes the bytes of one document and the key they lie under, and gives a `Document` or every reason why not, each
with line, column, path, code and what was expected. Pure: no clock, no store.
"""

from __future__ import annotations

from policy.documents.parse import Document, identify, parse, target_of
from policy.documents.source import Piece, Unreadable, split

__all__ = ["Document", "Piece", "Unreadable", "identify", "parse", "split", "target_of"]
