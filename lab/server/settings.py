"""The settings of the lab's server. The defaults are the real server's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

API_KEY = "devkey"
API_SECRET = "lab-secret-lab-secret-lab-secret-lab"

Edition = Literal["cloud", "oss"]


@dataclass(frozen=True)
class IceServer:
    """A STUN or TURN server that is announced to clients."""

    urls: tuple[str, ...]
    """Such as "turn:127.0.0.1:3478?transport=udp"."""
    username: str = ""
    """Empty: each client's own identity, so that the TURN server can distinguish them."""
    credential: str = ""


@dataclass(frozen=True)
class Pace:
    """Seconds that the real server and livekit-sip take for steps that the lab does at once."""

    create_dispatch: float = 0.0
    """For CreateDispatch."""
    offer: float = 0.0
    """From a dispatch to the offer of its job."""
    answer: float = 0.0
    """From the first track of another participant in a ringing caller's room to the answer."""
    track_of_the_called: float = 0.0
    """From the joining of a telephone that is dialled to its track."""


REAL_PACE = Pace(
    create_dispatch=0.04,  # the rest of the 0.29 to 0.39 seen from the request to an active agent
    offer=0.2,  # so long psrpc collects the workers that could take the job (its DefaultAffinityShortCircuit)
    answer=0.04,  # seen: 0.06 from publishing to the answer, of which the lab itself takes 0.02
    track_of_the_called=0.9,  # seen: 0.6 to 1.2
)
"""Of livekit-server 1.13.5 and livekit-sip be5d3f5 on loopback."""


@dataclass(frozen=True)
class ServerSettings:
    host: str = "127.0.0.1"
    """Address to bind; anything but loopback is refused."""
    port: int = 0
    """TCP port of the signalling and UDP port of the media; 0 lets the system choose."""
    api_key: str = API_KEY
    api_secret: str = API_SECRET
    edition: Edition = "cloud"
    """`cloud` moves participants between rooms, `oss` answers "not implemented" as the open-source server does."""
    empty_timeout: float = 300.0
    """Seconds until a room closes that only agents ever joined."""
    departure_timeout: float = 20.0
    """Seconds until a room closes after the last participant that is no agent has left."""
    vanish_timeout: float = 20.0
    """Seconds until a client counts as gone (livekit-server 1.13.4: 20 to 21): without a websocket, or, by a clock of its
    own, without connectivity checks of its media. libwebrtc checks every 2.5 s, so values below 3 remove healthy clients."""
    ice_servers: tuple[IceServer, ...] = ()
    """Offered to every client when it joins."""
    announce_interval: float = 3.0
    """Seconds between the batches in which participants without a track are announced."""
    pace: Pace = Pace()
    """Tests lose no time without it; calls for people and for measurements use `REAL_PACE`."""
    target_load: float = 0.7
    """A worker that reports this load or more gets no job (livekit-server's `agents.target_load`)."""
    seed: int = 1
    """Of the random numbers behind injected loss and jitter, and behind the choice among several workers."""
