"""The lab's LiveKit server: signalling, rooms, media forwarding, the Twirp services and the dispatch of workers."""

from lab.server.room import Participant, Room, Track, TrackSink
from lab.server.rooms import RoomRegistry
from lab.server.server import LabServer
from lab.server.settings import REAL_PACE, IceServer, Pace, ServerSettings
from lab.server.twirp import TwirpError

__all__ = [
    "REAL_PACE",
    "IceServer",
    "LabServer",
    "Pace",
    "Participant",
    "Room",
    "RoomRegistry",
    "ServerSettings",
    "Track",
    "TrackSink",
    "TwirpError",
]
