"""What every section gives back: one row for each kind of fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A fault, and how it went."""

    fault: str
    """What was done to the program."""
    tried: int
    """How many times."""
    survived: int
    """How many times it ended as promised: a correct result, or one clear sentence."""
    lost: int = 0
    """How many times something that was safe before was gone, or a half or wrong result was left."""
    note: str = ""
    """Figures, limits, or what went wrong."""
    enough: float = 1.0
    """Share that must be survived."""

    def __str__(self) -> str:
        cells = (self.fault, f"{self.tried:,}", f"{self.survived:,}", f"{self.lost:,}", self.note)
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    @classmethod
    def of(cls, fault: str, problems: list[str]) -> Row:
        """The row of trials of which each says what was wrong, "" for nothing."""
        wrong = [problem for problem in problems if problem]
        return cls(fault, len(problems), len(problems) - len(wrong), 0, "; ".join(wrong))

    @property
    def good(self) -> bool:
        """Whether all or enough of what was tried was survived and nothing lost."""
        return self.tried > 0 and self.survived >= self.enough * self.tried and self.lost == 0


HEADER = ("| fault | tried | survived | lost | |", "| --- | --- | --- | --- | --- |")
"""Above the rows, in Markdown."""
