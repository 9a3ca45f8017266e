"""Joins two rooms of any LiveKit server: one participant of each is heard in the other.

from transfer.relay import Side, relay_rooms

async with relay_rooms(Side("call-1", "caller"), Side("consult-1", "colleague")) as relay:
    ended = await relay.ended
"""

from transfer.relay.errors import Ended, RelayError, RelayFailure
from transfer.relay.order import EngineChoice, Order, Side
from transfer.relay.relay import Relay, RelayProcess, relay_rooms

__all__ = [
    "Ended",
    "EngineChoice",
    "Order",
    "Relay",
    "RelayError",
    "RelayFailure",
    "RelayProcess",
    "Side",
    "relay_rooms",
]
