"""Bad input ends the worker at start, with one line for each problem and no traceback."""

from __future__ import annotations


class ConfigurationError(Exception):
    """All problems, a line each: what is wrong, where, and what to write instead."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
