"""What the agent in the consult is told."""

from __future__ import annotations

from livekit.agents import NOT_GIVEN
from livekit.agents.beta.workflows import WorkflowInstructions

from transfer.options import resolve_instructions


def test_the_default_instructions_are_filled_in_whole() -> None:
    told = str(resolve_instructions(NOT_GIVEN, "Be kind.", "Caller: I was charged twice."))
    assert "You speak to that colleague now." in told
    assert "Speak English." in told
    assert "<conversation>\nCaller: I was charged twice.\n</conversation>" in told
    assert told.endswith("Be kind.")
    assert "{" not in told


def test_a_persona_takes_the_place_of_ours_and_the_rest_stays() -> None:
    told = str(resolve_instructions(WorkflowInstructions(persona="You are Ann."), "", "Caller: Hello."))
    assert told.startswith("You are Ann.")
    assert "Speak English." in told
    assert "You speak to that colleague now." not in told


def test_instructions_of_one_s_own_are_left_as_they_are() -> None:
    assert resolve_instructions("Say {nothing}.", "Be kind.", "Caller: Hello.") == "Say {nothing}."
