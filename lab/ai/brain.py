"""The language model of the lab: rules in a data file (`brain.toml`), tried from top to bottom; the first that fits answers."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RULES = Path(__file__).with_name("brain.toml")
CONVERSATION = re.compile(r"<conversation>\n(.*?)\n</conversation>", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What the model says, or the tool that it calls."""

    text: str = ""
    tool: str = ""
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A chat completion as far as the rules look at it."""

    tools: dict[str, dict[str, Any]]
    """Parameter schemas by name."""
    system: str
    last_role: str
    last_text: str
    has_spoken: bool

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Request:
        messages = body.get("messages") or []
        tools = {t["function"]["name"]: t["function"].get("parameters") or {} for t in body.get("tools") or []}
        system = "\n".join(_text(m) for m in messages if m.get("role") in ("system", "developer"))
        talk = [m for m in messages if m.get("role") in ("user", "assistant", "tool")]
        # The message to answer; the assistant's words beside a tool call may stand after the tool's result.
        last: dict[str, Any] = next((m for m in reversed(talk) if m["role"] != "assistant"), {})
        spoken = any(m["role"] == "assistant" and _text(m) for m in talk)
        return cls(tools, system, last.get("role", ""), _text(last), spoken)

    def caller_lines(self) -> list[str]:
        """The caller's lines, where the prompt contains a conversation."""
        found = CONVERSATION.search(self.system)
        lines = found[1].splitlines() if found else []
        return [line.removeprefix("Caller: ") for line in lines if line.startswith("Caller: ")]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""


class Brain:
    """Answers requests by the rules of a file."""

    def __init__(self, rules: Path = RULES) -> None:
        self._rules: list[dict[str, Any]] = tomllib.loads(rules.read_text(encoding="utf-8"))["rule"]

    def answer(self, body: dict[str, Any]) -> Answer:
        request = Request.parse(body)
        for rule in self._rules:
            if (match := self._fits(rule, request)) is not None:
                return self._act(rule, request, match)
        return Answer("I am not sure that I understand.")

    @staticmethod
    def _fits(rule: dict[str, Any], request: Request) -> re.Match[str] | None:
        """The match of the rule's pattern; None when the rule is not for this request."""
        wanted = rule.get("tool_offered", "")
        if wanted == "none" and request.tools:
            return None
        if wanted not in ("", "none") and wanted not in request.tools:
            return None
        if rule.get("last", "user") != request.last_role:
            return None
        if rule.get("after_speaking") and not request.has_spoken:
            return None
        if not re.search(rule.get("prompt", ""), request.system, re.IGNORECASE | re.MULTILINE):
            return None
        return re.search(rule.get("match", ""), request.last_text, re.IGNORECASE)

    @staticmethod
    def _act(rule: dict[str, Any], request: Request, match: re.Match[str]) -> Answer:
        found = re.search(rule.get("prompt", ""), request.system, re.IGNORECASE | re.MULTILINE)
        lines = request.caller_lines()
        values = {
            "said": request.last_text.strip().rstrip("."),
            "word": next((group for group in match.groups() if group), ""),
            "fact": found[1].strip() if found and found.groups() else "",
            "caller_said": " ".join(lines) or "nothing that I know of",
        }
        if tool := rule.get("call"):
            arguments = {name: text.format(**values) for name, text in rule.get("arguments", {}).items()}
            return Answer(tool=tool, arguments=_allowed(arguments, request.tools.get(tool, {})))
        words = rule["say"].format(**values).split()
        return Answer(" ".join(words[: rule.get("most_words", len(words))]))


def _allowed(arguments: dict[str, str], schema: dict[str, Any]) -> dict[str, str]:
    """Arguments that the tool's schema knows; one with a list of choices takes the first that is no choice of the rule's."""
    properties: dict[str, Any] = schema.get("properties") or {}
    out = {}
    for name, value in arguments.items():
        if name in properties:
            choices = properties[name].get("enum") or [value]
            out[name] = value if value in choices else choices[0]
    return out
