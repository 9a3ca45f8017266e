"""Rooms reached by telephone, as livekit-sip does it: trunks, dispatch rules, calls in and calls out."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from dataclasses import dataclass
from typing import Any, Self

from livekit.protocol import models
from livekit.protocol import sip as protocol

from lab.naming import mask, new_sid, random_text
from lab.server import LabServer, Participant, Room, Track, TwirpError
from lab.server.tokens import Claims
from lab.server.twirp import require
from lab.sip.digest import Credentials
from lab.sip.endpoint import SipEndpoint
from lab.sip.leg import Leg
from lab.sip.mixer import CLOCK_RATIO, OpusEar, OpusEncoder, mix
from lab.sip.playout import Pacer
from lab.sip.rtp import KEYS
from lab.sip.validation import check_call, check_inbound_trunk, check_outbound_trunk, check_rule, normalized

logger = logging.getLogger("lab.sip.gateway")

DEFAULT_RINGING_TIMEOUT = 80.0
"""Seconds, where CreateSIPParticipant names none (livekit-sip)."""

RINGING_INTERVAL = 1.0
"""Seconds between two 180 to a caller."""

TWIRP_CODES = {
    status: code
    for code, statuses in {
        "permission_denied": (401, 402, 403, 433, 470, 603, 607, 608),
        "not_found": (301, 302, 404, 410, 481, 604),
        "resource_exhausted": (440, 480, 486, 600),
        "deadline_exceeded": (408, 504),
        "aborted": (487, 491),
        "failed_precondition": (409, 412, 482, 483),
        "unauthenticated": (407, 428, 436, 437, 438, 494),
    }.items()
    for status in statuses
}
"""CreateSIPParticipant's answer to a SIP status: 404, 408, 480, 486, 500, 503 and 603 seen, the rest read in its source."""

LOCKED_OUT = {
    False: "sip server required auth, but no username or password was provided",
    True: "max auth retry attempts reached for SIP invite",
}
"""livekit-sip's (be5d3f5) words for a 401 or 407, without credentials in the trunk and with wrong ones; without a status."""

LEAVE_REASONS = {486: models.USER_REJECTED, 480: models.USER_UNAVAILABLE}


def twirp_code(status: int) -> str:
    return TWIRP_CODES.get(status) or ("failed_precondition" if 500 <= status < 600 else "invalid_argument")


@dataclass(frozen=True)
class GatewaySettings:
    host: str = "127.0.0.1"
    port: int = 0
    """UDP port of SIP; 0 lets the system choose."""
    nobody_comes_limit: float = 180.0
    """Seconds that a caller's call rings when no agent answers."""


class SipParticipant(Participant):
    """A telephone in a room. The leg stays when the participant moves to another room."""

    can_move = True

    def __init__(self, room: Room, leg: Leg, identity: str, **values: Any) -> None:
        super().__init__(room, identity, kind=models.ParticipantInfo.SIP, **values)
        self.state = models.ParticipantInfo.ACTIVE
        self.leg = leg
        self.in_setup = True
        """True while the call is being set up: the code that sets it up then reports its end."""
        self.heard = asyncio.Event()
        """Set when a track of the room reaches the phone."""
        self._encoder = OpusEncoder()
        self._ears: dict[str, OpusEar] = {}
        self._waiting: dict[str, Track] = {}
        """Tracks to subscribe to once the phone is answered."""
        info = models.TrackInfo(
            sid=new_sid("TR_"),
            type=models.AUDIO,
            source=models.MICROPHONE,
            name=identity,
            mime_type="audio/opus",
            stream="camera",
            disable_red=True,
        )
        self._microphone = Track(self, info)
        self._publishing: asyncio.TimerHandle | None = None
        leg.on_end = self._on_leg_end

    def enter(self, publish_after: float = 0.0) -> None:
        """Joins its room, and publishes its track at once or `publish_after` seconds later, but not after it has answered."""
        if publish_after:
            self._publishing = asyncio.get_running_loop().call_later(publish_after, self._publish)
        else:
            self.tracks[self._microphone.sid] = self._microphone
        self.room.add(self)

    def _publish(self) -> None:
        self._publishing = None
        self.tracks[self._microphone.sid] = self._microphone
        self.room.publish(self._microphone)

    def connect_sound(self) -> None:
        """The call is answered: both directions open, one callback each."""
        if self._publishing:
            self._publishing.cancel()
            self._publish()
        self.leg.rtp.on_audio = self._from_phone
        self.leg.rtp.on_key = self._on_key
        for track in self._waiting.values():
            self._hear(track)
        self._waiting.clear()

    @property
    def status(self) -> str:
        return self.attributes.get("sip.callStatus", "")

    def set_status(self, status: str) -> None:
        self.set_attributes({"sip.callStatus": status})

    # -- room to phone

    def subscribe(self, track: Track) -> None:
        self.heard.set()
        if self.leg.talking:
            self._hear(track)
        else:
            self._waiting[track.sid] = track

    def _hear(self, track: Track) -> None:
        self._ears[track.sid] = OpusEar()
        track.sinks[self.identity] = self
        track.mark_subscribed()

    def unsubscribe(self, track: Track) -> None:
        track.sinks.pop(self.identity, None)
        self._waiting.pop(track.sid, None)
        self._ears.pop(track.sid, None)

    def on_packet(self, track: Track, marker: bool, sequence: int, timestamp: int, payload: bytes) -> None:
        if ear := self._ears.get(track.sid):
            self.network.pass_on(payload, lambda data: ear.put(data, timestamp))

    def on_sender_report(self, track: Track, sender_info: bytes) -> None:
        """A telephone has no use for the wall clock."""

    def tick(self) -> None:
        """20 ms of sound for the phone."""
        frames = [frame for ear in self._ears.values() if (frame := ear.take()) is not None]
        self.leg.send_audio(mix(frames))

    # -- phone to room

    def _from_phone(self, samples: Any, timestamp: int, sequence: int) -> None:
        payload = self._encoder.encode(samples)
        opus_timestamp = timestamp * CLOCK_RATIO & 0xFFFFFFFF
        self.network.pass_on(payload, lambda data: self._microphone.forward(False, sequence, opus_timestamp, data))

    def _on_key(self, key: str) -> None:
        packet = models.DataPacket(sip_dtmf=models.SipDTMF(digit=key, code=KEYS.index(key)))
        self.room.route_data(self, packet, True)

    def receive_data(self, packet: models.DataPacket, reliable: bool) -> None:
        if packet.WhichOneof("value") == "sip_dtmf" and self.leg.talking:
            key = packet.sip_dtmf.digit or KEYS[packet.sip_dtmf.code]
            self.room.tasks.spawn(self.leg.press(key))

    # -- the end

    def _on_leg_end(self, why: str) -> None:
        if self.in_setup:
            return
        if why in ("bye", "cancel"):
            self.set_status("hangup")
        if self.network.goodbye_lost:
            asyncio.get_running_loop().call_later(
                self.room.settings.vanish_timeout, self._leave, models.CONNECTION_TIMEOUT
            )
        else:
            self._leave(models.CLIENT_INITIATED)

    def _leave(self, reason: models.DisconnectReason) -> None:
        if self.room.participants.get(self.identity) is self:
            self.room.tasks.spawn(self.room.remove(self, reason))

    async def close(self, reason: models.DisconnectReason) -> None:
        if self._publishing:
            self._publishing.cancel()
        self.leg.on_end = lambda why: None
        self.leg.hang_up("room", 486)


class SipGateway:
    """Binds a LabServer to a SIP endpoint of its own and serves the Twirp service `SIP`."""

    def __init__(self, server: LabServer, settings: GatewaySettings | None = None) -> None:
        self.server = server
        self.settings = settings or GatewaySettings()
        self.endpoint = SipEndpoint(self.settings.host, self.settings.port, name="LiveKit")
        self.endpoint.on_call = self._on_call
        self.inbound: dict[str, protocol.SIPInboundTrunkInfo] = {}
        self.outbound: dict[str, protocol.SIPOutboundTrunkInfo] = {}
        self.rules: dict[str, protocol.SIPDispatchRuleInfo] = {}
        self._clock: asyncio.Task[None] | None = None
        server.twirp.add_service("SIP", SipService(self))

    @property
    def address(self) -> str:
        return self.endpoint.address

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises OSError when the port is in use."""
        await self.endpoint.start()
        self._clock = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Before the server's own stop()."""
        if self._clock:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        await self.endpoint.stop()

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        return self.endpoint.tasks.spawn(work)

    async def _tick(self) -> None:
        pacer = Pacer(time.monotonic())
        while True:
            await asyncio.sleep(max(0.0, pacer.next - time.monotonic()))
            ticks = pacer.due(time.monotonic())
            for room in self.server.rooms.all():
                for participant in list(room.participants.values()):
                    if isinstance(participant, SipParticipant) and participant.leg.talking:
                        self._tick_one(participant, ticks)

    @staticmethod
    def _tick_one(participant: SipParticipant, ticks: int) -> None:
        try:
            for _ in range(ticks):
                participant.tick()
        except Exception:  # one phone's trouble must not silence the others
            logger.exception("the phone %s failed for 20 ms", mask(participant.identity))

    # -- calls in

    def _on_call(self, leg: Leg) -> None:
        self._spawn(self._incoming(leg))

    def _trunk_for(self, leg: Leg) -> protocol.SIPInboundTrunkInfo | None:
        """The trunk of the called number, or else one of all numbers; it has to allow the caller."""
        allowing = [trunk for trunk in self.inbound.values() if _allows(trunk, leg)]
        of_number = (trunk for trunk in allowing if normalized(leg.called) in map(normalized, trunk.numbers))
        of_all = (trunk for trunk in allowing if not trunk.numbers)
        return next(of_number, None) or next(of_all, None)

    def _rule_for(self, trunk: protocol.SIPInboundTrunkInfo | None) -> protocol.SIPDispatchRuleInfo | None:
        """A rule of the trunk, or else one that names no trunk, which is also for calls without one."""
        own = (rule for rule in self.rules.values() if trunk and trunk.sip_trunk_id in rule.trunk_ids)
        of_anybody = (rule for rule in self.rules.values() if not rule.trunk_ids)
        return next(own, None) or next(of_anybody, None)

    async def _incoming(self, leg: Leg) -> None:
        trunk = self._trunk_for(leg)
        if trunk and not _is_known(leg, trunk):
            return
        rule = self._rule_for(trunk)
        room = self._room_for(rule, leg) if rule else None
        if rule is None or room is None:
            leg.ring()  # livekit-sip rings before it asks for a rule, and drops a call for which there is none
            leg.drop()
            return
        participant = self._caller(room, leg, trunk, rule)
        participant.enter()
        for agent in rule.room_config.agents:
            self.server.tasks.spawn(self.server.dispatcher.dispatch(room, agent.agent_name, agent.metadata))
        await self._ring_until_heard(participant)

    def _room_for(self, rule: protocol.SIPDispatchRuleInfo, leg: Leg) -> Room | None:
        match rule.rule.WhichOneof("rule"):
            case "dispatch_rule_direct":
                name = rule.rule.dispatch_rule_direct.room_name
            case "dispatch_rule_individual":
                prefix = rule.rule.dispatch_rule_individual.room_prefix
                name = "_".join(part for part in (prefix, leg.caller.user, random_text(12)) if part)
            case _:
                return None
        return self.server.rooms.get_or_create(name)

    @staticmethod
    def _caller(
        room: Room, leg: Leg, trunk: protocol.SIPInboundTrunkInfo | None, rule: protocol.SIPDispatchRuleInfo
    ) -> SipParticipant:
        assert leg.invite_message
        number = leg.caller.user
        attributes = {
            **rule.attributes,
            "sip.callID": new_sid("SCL_"),
            "sip.callIDFull": leg.call_id,
            "sip.callTag": leg.remote_tag,
            "sip.callStatus": "ringing",
            "sip.phoneNumber": number,
            "sip.trunkPhoneNumber": leg.called,
            "sip.ruleID": rule.sip_dispatch_rule_id,
            "sip.hostname": leg.caller.host,
        }
        if trunk:
            attributes["sip.trunkID"] = (
                trunk.sip_trunk_id
            )  # for a call without a trunk livekit-sip sets, that is deletes, ""
            for header, attribute in trunk.headers_to_attributes.items():
                if value := leg.invite_message.get(header):
                    attributes[attribute] = value
        name = f"Phone {number}"
        return SipParticipant(room, leg, f"sip_{number}", name=name, attributes=attributes, metadata=rule.metadata)

    async def _ring_until_heard(self, participant: SipParticipant) -> None:
        """Rings once a second until a track of the room reaches the phone, then answers."""
        participant.in_setup = False
        leg = participant.leg
        limit = time.monotonic() + self.settings.nobody_comes_limit
        while not participant.heard.is_set() and not leg.ended:
            leg.ring()
            if time.monotonic() > limit:
                leg.hang_up("nobody came", 480)
            try:
                async with asyncio.timeout(RINGING_INTERVAL):
                    await participant.heard.wait()
            except TimeoutError:
                continue
        await asyncio.sleep(self.server.settings.pace.answer)
        await leg.accept()
        if leg.talking:
            participant.connect_sound()
            participant.set_status("active")

    # -- calls out

    async def call(self, request: protocol.CreateSIPParticipantRequest) -> protocol.SIPParticipantInfo:
        """CreateSIPParticipant: raises TwirpError as the real service answers."""
        check_call(request)
        trunk = self._outbound_trunk(request)
        room = self.server.rooms.get_or_create(request.room_name)
        identity = request.participant_identity or f"sip_{request.sip_call_to}"
        if present := room.participants.get(identity):
            await room.remove(present, models.DUPLICATE_IDENTITY)
        call_id = new_sid("SCL_")
        leg = Leg(self.endpoint)
        participant = self._callee(room, leg, request, trunk, identity, call_id)
        participant.enter(publish_after=self.server.settings.pace.track_of_the_called)
        setup = self._spawn(self._set_up(participant, request, trunk))
        info = protocol.SIPParticipantInfo(
            participant_id=participant.sid, participant_identity=identity, room_name=room.name, sip_call_id=call_id
        )
        if request.wait_until_answered and (error := await asyncio.shield(setup)):
            # Shielded: a client that drops its request does not stop the ringing.
            raise error
        return info

    def _outbound_trunk(self, request: protocol.CreateSIPParticipantRequest) -> protocol.SIPOutboundTrunkInfo:
        if request.sip_trunk_id:
            trunk = self.outbound.get(request.sip_trunk_id)
            if trunk is None:
                raise TwirpError("not_found", "requested sip trunk does not exist")
            return trunk
        if not request.sip_number:  # and an inline trunk has no numbers of its own
            raise TwirpError("failed_precondition", "no numbers on outbound trunk")
        if not request.trunk.hostname:
            raise TwirpError("invalid_argument", "invalid request URI: address must be set")
        return protocol.SIPOutboundTrunkInfo(
            address=request.trunk.hostname,
            transport=request.trunk.transport,
            auth_username=request.trunk.auth_username,
            auth_password=request.trunk.auth_password,
        )

    @staticmethod
    def _callee(
        room: Room,
        leg: Leg,
        request: protocol.CreateSIPParticipantRequest,
        trunk: protocol.SIPOutboundTrunkInfo,
        identity: str,
        call_id: str,
    ) -> SipParticipant:
        attributes = {
            **request.participant_attributes,
            "sip.callID": call_id,
            "sip.callStatus": "dialing",
            "sip.phoneNumber": request.sip_call_to,
            "sip.trunkPhoneNumber": request.sip_number or next(iter(trunk.numbers), ""),
            "sip.hostname": trunk.address,
        }
        if request.sip_trunk_id:
            attributes["sip.trunkID"] = request.sip_trunk_id
        return SipParticipant(
            room,
            leg,
            identity,
            name=request.participant_name,
            metadata=request.participant_metadata,
            attributes=attributes,
        )

    async def _set_up(
        self,
        participant: SipParticipant,
        request: protocol.CreateSIPParticipantRequest,
        trunk: protocol.SIPOutboundTrunkInfo,
    ) -> TwirpError | None:
        """Rings the phone; returns the error of a call that does not succeed."""
        leg = participant.leg
        leg.on_ringing = lambda: participant.set_status("ringing") if participant.status == "dialing" else None
        ringing_timeout = request.ringing_timeout.ToMilliseconds() / 1000 or DEFAULT_RINGING_TIMEOUT
        host, _, port = trunk.address.partition(":")
        credentials = Credentials(trunk.auth_username, trunk.auth_password) if trunk.auth_username else None
        try:
            await leg.invite(
                _request_uri(request.sip_call_to, trunk),
                (host, int(port or 5060)),
                participant.attributes["sip.trunkPhoneNumber"],
                headers={**trunk.headers, **request.headers},
                credentials=credentials,
            )
            status = await leg.wait_answered(ringing_timeout)
        except TimeoutError:
            await self._leave(participant, models.CLIENT_INITIATED)
            return TwirpError("canceled", "twirp error canceled: ringing timeout")
        if status != 200:
            await self._leave(participant, LEAVE_REASONS.get(status, models.CLIENT_INITIATED))
            return self._refusal(participant, trunk, status)
        await self._answered(participant, request.dtmf)
        return None

    async def _answered(self, participant: SipParticipant, keys: str) -> None:
        leg = participant.leg
        participant.in_setup = False
        if leg.ended:
            await self._leave(participant, models.CLIENT_INITIATED)
            return
        participant.attributes |= {"sip.callIDFull": leg.call_id, "sip.callTag": leg.remote_tag}
        participant.connect_sound()
        if keys:
            participant.set_status("automation")
            await leg.press(keys)
        if not leg.ended:
            participant.set_status("active")

    def _refusal(self, participant: SipParticipant, trunk: protocol.SIPOutboundTrunkInfo, status: int) -> TwirpError:
        reason = participant.leg.reason
        logger.info("call to %s: %s %s", mask(participant.attributes["sip.phoneNumber"]), status, reason)
        if status == 487:
            return TwirpError("canceled", "twirp error canceled: call canceled")
        if status in (401, 407):
            return TwirpError("failed_precondition", f"twirp error unknown: {LOCKED_OUT[bool(trunk.auth_username)]}")
        return TwirpError(
            twirp_code(status),
            f"twirp error unknown: INVITE failed: sip status: {status}: {reason}",
            {"sip_status_code": str(status), "sip_status": reason, "error_details": f"sip status: {status}"},
        )

    @staticmethod
    async def _leave(participant: SipParticipant, reason: models.DisconnectReason) -> None:
        participant.leg.on_end = lambda why: None
        await participant.room.remove(participant, reason)


def _request_uri(user: str, trunk: protocol.SIPOutboundTrunkInfo) -> str:
    """The called user stands in it as given: "sip:1001" becomes "sip:sip:1001@host", as with livekit-sip (read)."""
    transport = protocol.SIPTransport.Name(trunk.transport).removeprefix("SIP_TRANSPORT_").lower()
    return f"sip:{user}@{trunk.address}" + ("" if transport == "auto" else f";transport={transport}")


def _allows(trunk: protocol.SIPInboundTrunkInfo, leg: Leg) -> bool:
    right_caller = not trunk.allowed_numbers or normalized(leg.caller.user) in map(normalized, trunk.allowed_numbers)
    allowed = trunk.allowed_addresses
    right_address = not allowed or any(_is_at(leg.remote_host, leg.caller.host, entry) for entry in allowed)
    return right_caller and right_address


def _is_known(leg: Leg, trunk: protocol.SIPInboundTrunkInfo) -> bool:
    """Whether the caller knows the trunk's password, if it has one. A caller that does not has been refused."""
    credentials = Credentials(trunk.auth_username, trunk.auth_password)
    return not (trunk.auth_username and trunk.auth_password) or leg.authorized(credentials)


def _is_at(address: str, host: str, entry: str) -> bool:
    """Whether a call from `address`, of a caller at `host` by its own words, is of the network or host `entry`."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False)
    except ValueError:  # a name
        return host == entry


class SipService:
    """The SIP part of LiveKit's server API."""

    def __init__(self, gateway: SipGateway) -> None:
        self._gateway = gateway

    async def CreateSIPParticipant(
        self, request: protocol.CreateSIPParticipantRequest, claims: Claims
    ) -> protocol.SIPParticipantInfo:
        require(claims.may_call())
        return await self._gateway.call(request)

    async def TransferSIPParticipant(
        self, request: protocol.TransferSIPParticipantRequest, claims: Claims
    ) -> protocol.SIPParticipantInfo:
        raise TwirpError("unimplemented", "the lab has no cold transfer")

    # -- trunks and rules

    async def CreateSIPInboundTrunk(
        self, request: protocol.CreateSIPInboundTrunkRequest, claims: Claims
    ) -> protocol.SIPInboundTrunkInfo:
        require(claims.may_manage_sip())
        trunks = self._gateway.inbound
        check_inbound_trunk(request, trunks.values())
        trunk = protocol.SIPInboundTrunkInfo.FromString(request.trunk.SerializeToString())
        trunk.sip_trunk_id = new_sid("ST_")
        trunks[trunk.sip_trunk_id] = trunk
        return trunk

    async def CreateSIPOutboundTrunk(
        self, request: protocol.CreateSIPOutboundTrunkRequest, claims: Claims
    ) -> protocol.SIPOutboundTrunkInfo:
        require(claims.may_manage_sip())
        check_outbound_trunk(request)
        trunk = protocol.SIPOutboundTrunkInfo.FromString(request.trunk.SerializeToString())
        trunk.sip_trunk_id = new_sid("ST_")
        self._gateway.outbound[trunk.sip_trunk_id] = trunk
        return trunk

    async def CreateSIPDispatchRule(
        self, request: protocol.CreateSIPDispatchRuleRequest, claims: Claims
    ) -> protocol.SIPDispatchRuleInfo:
        require(claims.may_manage_sip())
        rule = protocol.SIPDispatchRuleInfo()
        if request.HasField("dispatch_rule"):
            rule.CopyFrom(request.dispatch_rule)
        else:
            if request.HasField("rule"):
                rule.rule.CopyFrom(request.rule)
            rule.room_config.CopyFrom(request.room_config)
            rule.trunk_ids.extend(request.trunk_ids)
            rule.attributes.update(request.attributes)
            rule.name, rule.metadata = request.name, request.metadata
        check_rule(rule, self._gateway.rules.values())
        rule.sip_dispatch_rule_id = new_sid("SDR_")
        self._gateway.rules[rule.sip_dispatch_rule_id] = rule
        return rule

    async def ListSIPInboundTrunk(
        self, request: protocol.ListSIPInboundTrunkRequest, claims: Claims
    ) -> protocol.ListSIPInboundTrunkResponse:
        require(claims.may_manage_sip())
        return protocol.ListSIPInboundTrunkResponse(items=list(self._gateway.inbound.values()))

    async def ListSIPOutboundTrunk(
        self, request: protocol.ListSIPOutboundTrunkRequest, claims: Claims
    ) -> protocol.ListSIPOutboundTrunkResponse:
        require(claims.may_manage_sip())
        return protocol.ListSIPOutboundTrunkResponse(items=list(self._gateway.outbound.values()))

    async def ListSIPDispatchRule(
        self, request: protocol.ListSIPDispatchRuleRequest, claims: Claims
    ) -> protocol.ListSIPDispatchRuleResponse:
        require(claims.may_manage_sip())
        return protocol.ListSIPDispatchRuleResponse(items=list(self._gateway.rules.values()))

    async def DeleteSIPTrunk(self, request: protocol.DeleteSIPTrunkRequest, claims: Claims) -> protocol.SIPTrunkInfo:
        require(claims.may_manage_sip())
        gateway = self._gateway
        if not (gateway.inbound.pop(request.sip_trunk_id, None) or gateway.outbound.pop(request.sip_trunk_id, None)):
            raise TwirpError("not_found", "object cannot be found")
        return protocol.SIPTrunkInfo(sip_trunk_id=request.sip_trunk_id)

    async def DeleteSIPDispatchRule(
        self, request: protocol.DeleteSIPDispatchRuleRequest, claims: Claims
    ) -> protocol.SIPDispatchRuleInfo:
        require(claims.may_manage_sip())
        rule = self._gateway.rules.pop(request.sip_dispatch_rule_id, None)
        if rule is None:
            raise TwirpError("not_found", "object cannot be found")
        return rule
