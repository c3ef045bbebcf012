"""The items of an array in a JSON document, one by one, in memory that does not grow with the document."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any, Final

from penstock.core.errors import SourceError
from penstock.core.lake import DECODER, RepeatedKey

MAX_ITEM_CHARACTERS: Final = 1 << 26
"""The longest item; a longer one is no row of a table, and would be held in memory."""

_SPACE: Final = " \t\r\n"
_SHOWN: Final = 60


class _Document:
    """A document's text, read as far as it is needed; bytes that are not UTF-8 become surrogates."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False

    def _more(self) -> None:
        block = next(self._blocks, None)
        self._ended = block is None
        self._text = self._text[self._at :] + self._decoder.decode(block or b"", final=self._ended)
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self, character: str) -> bool:
        """Step over the next character, if it is this one."""
        found = self.peek() == character
        self._at += found
        return found

    def value(self) -> Any:
        """Read the next value.

        Raises:
            SourceError: There is none, or it is longer than `MAX_ITEM_CHARACTERS`, or names a key twice.
        """
        self.peek()
        while True:
            try:
                found, end = DECODER.raw_decode(self._text, self._at)
            except RepeatedKey as error:
                raise SourceError(f"In the document {error}, and JSON does not say which value holds.") from None
            except RecursionError:
                raise self.broken() from None
            except ValueError:
                if self._ended or len(self._text) - self._at > MAX_ITEM_CHARACTERS:
                    raise self.broken() from None
            else:
                if end < len(self._text) or self._ended:  # else a number may go on
                    self._at = end
                    return found
            self._more()

    def enter(self, name: str) -> bool:
        """Step into an object's member; tell whether there is one."""
        if not self.take("{"):
            return False
        while not self.take("}"):
            key = self.value()
            if not self.take(":"):
                raise self.broken()
            if key == name:
                return True
            self.value()
            if not self.take(",") and self.peek() != "}":
                raise self.broken()
        return False

    def broken(self) -> SourceError:
        """Return the error that the document is no JSON from here on."""
        near = self._text[self._at : self._at + _SHOWN].encode("utf-8", "backslashreplace").decode("utf-8")
        return SourceError(f"The file is not JSON, or is cut off, from {near!r} on.")

    def finish(self) -> None:
        """Read what is left, so that the file is held to its digest."""
        for _ in self._blocks:
            pass


def items(blocks: Iterable[bytes], path: str = "") -> Iterator[Any]:
    """Yield the items of an array, numbers as the text they were written in.

    Args:
        blocks: The document, UTF-8.
        path: The way to the array through the names of objects, `data.items`; empty for the document itself.

    Raises:
        SourceError: There is no array, or the document is not JSON up to the array's end.
    """
    document = _Document(blocks)
    inside = all(document.enter(name) for name in path.split(".") if name)
    if not inside or not document.take("["):
        if document.peek() not in {"{", "[", ""} and not path:
            document.value()
        where = f"at {path!r}" if path else "as a whole"
        raise SourceError(f"The JSON document is no array {where}; the argument `records` says where the array is.")
    if not document.take("]"):
        yield document.value()
        while not document.take("]"):
            if not document.take(","):
                raise document.broken()
            yield document.value()
    document.finish()
