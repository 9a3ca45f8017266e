"""AI services on loopback that speak OpenAI's and Deepgram's wire protocols over engines that need no network."""

from lab.ai.services import AiServices
from lab.ai.settings import AiSettings

__all__ = ["AiServices", "AiSettings"]
