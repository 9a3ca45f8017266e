"""The lab's LiveKit server: signalling, rooms, media forwarding, the Twirp services and the dispatch of workers."""

from lab.server.participant import Participant, Track, TrackSink
from lab.server.rooms import Room, RoomRegistry
from lab.server.server import LabServer
from lab.server.settings import IceServer, ServerSettings
from lab.server.twirp import TwirpError

__all__ = [
    "IceServer",
    "LabServer",
    "Participant",
    "Room",
    "RoomRegistry",
    "ServerSettings",
    "Track",
    "TrackSink",
    "TwirpError",
]
