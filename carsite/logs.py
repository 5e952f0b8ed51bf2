"""How log lines look."""

import logging


class Formatter(logging.Formatter):
    r"""Formats a record as its time, level, logger and message.

    With `one_line` each record is one line, and a newline (of a traceback, or in what a visitor
    sent) is written as \n. So a program that reads the log finds one event in each line.
    """

    def __init__(self, *, one_line: bool) -> None:
        super().__init__("{asctime} {levelname} {name} {message}", style="{")
        self.one_line = one_line

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or with a traceback and without `one_line` the lines."""
        text = super().format(record)
        return text.replace("\r", r"\r").replace("\n", r"\n") if self.one_line else text
