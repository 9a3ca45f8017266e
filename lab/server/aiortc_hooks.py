"""The parts of the insides of aiortc 1.16 and aioice that the lab needs, all in one place.

aiortc offers DTLS-SRTP only together with its own ICE and RTP classes; the lab brings its own of both, so it reaches for
the SRTP contexts that the handshake leaves behind. `test_aiortc_hooks.py` fails when a name disappears.
"""

from __future__ import annotations

from typing import Any

from aioice import stun
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, RTCSctpTransport

SRTP_NAMES = ("_rx_srtp", "_tx_srtp", "_set_role")


class BindingRequest:
    """A connectivity check of ICE."""

    def __init__(self, message: stun.Message) -> None:
        self._message = message
        self.ufrag: str = message.attributes["USERNAME"].split(":")[0]
        """The receiver's half of the user name."""
        self.nominates = "USE-CANDIDATE" in message.attributes

    @classmethod
    def parse(cls, data: bytes) -> BindingRequest | None:
        """None where `data` is anything else."""
        try:
            message = stun.parse_message(data)
            is_request = message.message_method == stun.Method.BINDING and message.message_class == stun.Class.REQUEST
            return cls(message) if is_request else None
        except (ValueError, KeyError):
            return None

    def is_signed_with(self, password: bytes) -> bool:
        return bool(self._message.check_message_integrity(password))

    def answer(self, address: tuple[str, int], password: bytes) -> bytes:
        """The success response that reports the client's own `address` to it."""
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, self._message.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = address
        answer.add_message_integrity(password)
        answer.add_fingerprint()
        return bytes(answer)


class DtlsSession:
    """One DTLS association with the SCTP association on top and the SRTP keys beside it.

    `path` takes the place of an ICE transport: it has `role`, `async _recv()` and `async _send(data)`.
    """

    def __init__(self, path: Any, certificate: RTCCertificate) -> None:
        self._dtls: Any = RTCDtlsTransport(path, [certificate])
        self.sctp = RTCSctpTransport(self._dtls)

    async def connect(self, fingerprint: str) -> bool:
        """Does the handshake as the DTLS client (`setup:active`) and starts SCTP; False when the handshake fails."""
        self._dtls._set_role("client")
        await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", fingerprint)]))
        if not self.connected:
            return False
        await self.sctp.start(None, 5000)
        return True

    @property
    def connected(self) -> bool:
        return bool(self._dtls.state == "connected")

    @property
    def keyed(self) -> bool:
        """True once received packets can be decrypted."""
        return getattr(self._dtls, "_rx_srtp", None) is not None

    def unprotect_rtp(self, data: bytes) -> bytes:
        return bytes(self._dtls._rx_srtp.unprotect(data))

    def unprotect_rtcp(self, data: bytes) -> bytes:
        return bytes(self._dtls._rx_srtp.unprotect_rtcp(data))

    def protect_rtp(self, data: bytes) -> bytes:
        return bytes(self._dtls._tx_srtp.protect(data))

    def protect_rtcp(self, data: bytes) -> bytes:
        return bytes(self._dtls._tx_srtp.protect_rtcp(data))

    async def close(self) -> None:
        await self.sctp.stop()
        await self._dtls.stop()
