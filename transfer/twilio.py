"""Reaches the human without a SIP trunk: Twilio dials, and LiveKit's Twilio connector brings the voice into the consult."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import aiohttp
from livekit import api
from livekit.agents import NOT_GIVEN, JobContext, NotGivenOr
from livekit.agents.utils import http_context, is_given

from transfer.consult import Consult
from transfer.dial import Destination, Origination
from transfer.outcome import TransferReason, WarmTransferError
from transfer.task import WarmTransferTask

logger = logging.getLogger("transfer")

API_BASE = "https://api.twilio.com/2010-04-01"
"""TWILIO_API_BASE_URL replaces it, for tests."""
SIP_ONLY = frozenset(
    {"sip_call_to", "sip_trunk_id", "sip_connection", "sip_number", "sip_headers", "dtmf", "target_phone_number"}
)
RINGING_TIMEOUT = 30.0
"""Seconds; the stock task's."""
POLL = 1.0
"""Seconds between two looks at a call's status: Twilio would report it by a webhook, which a worker cannot receive."""
REQUEST_LIMIT = 10.0
"""Seconds that one request to Twilio may take."""
FROM_REFUSED = (21210, 21212)
"""Twilio's errors for a caller ID that is not verified or not valid. Neither makes a call."""
NOT_CANCELABLE = 21220
"""The call has been answered meanwhile."""
REASON_OF_STATUS = {
    "busy": TransferReason.BUSY,
    "no-answer": TransferReason.NO_ANSWER,
    "failed": TransferReason.UNREACHABLE,
    "canceled": TransferReason.UNREACHABLE,
    "completed": TransferReason.HUMAN_HUNG_UP,
}
REASON_OF_CODE = {20003: TransferReason.TRUNK_ERROR, 20404: TransferReason.TRUNK_ERROR, 21211: TransferReason.WRONG_NUMBER,
                  21214: TransferReason.WRONG_NUMBER, 21217: TransferReason.WRONG_NUMBER}  # fmt: skip


class TwilioError(RuntimeError):
    """Twilio's answer: HTTP status and its own code, no word of the request."""

    def __init__(self, status: int, code: int | None) -> None:
        super().__init__(f"Twilio refused: HTTP {status}, code {code or 'unknown'}")
        self.status, self.code = status, code


@dataclass(frozen=True)
class TwilioAccount:
    """The credentials, and the two requests that a transfer needs."""

    sid: str
    token: str = field(repr=False)

    async def request(self, method: str, path: str, **data: str) -> dict[str, Any]:
        base = os.getenv("TWILIO_API_BASE_URL") or API_BASE
        async with http_context.http_session().request(
            method,
            f"{base}/Accounts/{quote(self.sid, safe='')}{path}",
            auth=aiohttp.BasicAuth(self.sid, self.token),
            data=data or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT),
        ) as response:
            try:
                body = await response.json(content_type=None)
            except ValueError:
                body = None
            body = body if isinstance(body, dict) else {}
            if not 200 <= response.status < 300:
                code = body.get("code")
                raise TwilioError(response.status, code if isinstance(code, int) else None)
            return body

    async def call(self, to: str, from_: str, twiml: str, token: str = "") -> str:
        """The new call's SID."""
        extra = {"CallToken": token} if token else {}
        sid = (await self.request("POST", "/Calls.json", To=to, From=from_, Twiml=twiml, **extra)).get("sid")
        if not isinstance(sid, str) or not sid:
            raise TwilioError(200, None)
        return sid

    async def status(self, sid: str) -> str:
        return str((await self.request("GET", f"/Calls/{quote(sid, safe='')}.json")).get("status", ""))

    async def hang_up(self, sid: str) -> None:
        """Ends a call, ringing or answered."""
        path = f"/Calls/{quote(sid, safe='')}.json"
        try:
            await self.request("POST", path, Status="canceled")
        except TwilioError as error:
            if error.code != NOT_CANCELABLE:
                raise
            await self.request("POST", path, Status="completed")


@dataclass(frozen=True)
class TwilioLine:
    """The way out of a TwilioConnectorWarmTransferTask."""

    account: TwilioAccount
    number: str
    """Of the business."""
    call_token: str = field(default="", repr=False)
    """Of the caller's own call: lets it be dialled from the caller's number."""
    caller_number: str = ""

    async def dial(self, job: JobContext, destination: Destination, consult: Consult) -> None:
        """Returns when the phone has been picked up. WarmTransferError gives the reason why it was not."""
        limit = destination.ringing_timeout or RINGING_TIMEOUT
        placing: asyncio.Task[str] | None = None
        try:
            async with asyncio.timeout(limit + REQUEST_LIMIT):
                await consult.create_room()
                placing = asyncio.create_task(self._place(job, destination, consult))
                # Shielded: a call that Twilio makes although its waiter has left has to be ended.
                sid = await asyncio.shield(placing)
            async with asyncio.timeout(limit):
                await self._wait_for_answer(sid, consult)
        except BaseException as error:
            if placing:
                consult.ending = asyncio.create_task(self._abandon(placing))
            raise from_twilio(error) from error
        consult.human_active.set()

    async def _place(self, job: JobContext, destination: Destination, consult: Consult) -> str:
        request = api.ConnectTwilioCallRequest(
            twilio_call_direction=api.ConnectTwilioCallRequest.TWILIO_CALL_DIRECTION_OUTBOUND,
            room_name=consult.room_name,
            participant_identity=consult.human_identity,
        )
        stream = (await job.api.connector.connect_twilio_call(request)).connect_url
        twiml = f"<Response><Connect><Stream url={quoteattr(stream)}/></Connect></Response>"
        to = destination.sip_call_to
        if self.call_token:
            try:
                return await self.account.call(to, self.caller_number, twiml, self.call_token)
            except TwilioError as error:
                if error.status != 400 or error.code not in FROM_REFUSED:
                    raise
                logger.warning("Twilio refused the caller's own number: dialling from that of the business")
        return await self.account.call(to, self.number, twiml)

    async def _wait_for_answer(self, sid: str, consult: Consult) -> None:
        """The connector's track is the answer; a call that ends before it says why."""
        while not consult.human_heard.is_set():
            try:
                async with asyncio.timeout(POLL):
                    await consult.human_heard.wait()
            except TimeoutError:
                if (reason := REASON_OF_STATUS.get(await self.account.status(sid))) is not None:
                    raise WarmTransferError(reason) from None

    async def _abandon(self, placing: asyncio.Task[str]) -> None:
        try:
            await self.account.hang_up(await placing)
        except (TwilioError, aiohttp.ClientError, TimeoutError, api.TwirpError) as error:
            logger.warning("a call at Twilio could not be ended: %s", error)


def from_twilio(error: BaseException) -> BaseException:
    """The outcome of a failed call; any other error is returned as it is."""
    if isinstance(error, TwilioError):
        return WarmTransferError(REASON_OF_CODE.get(error.code or 0, TransferReason.UNREACHABLE), str(error))
    if isinstance(error, TimeoutError):
        return WarmTransferError(TransferReason.NO_ANSWER)
    if isinstance(error, api.TwirpError):
        return WarmTransferError(TransferReason.TRUNK_ERROR, error.message)
    if isinstance(error, aiohttp.ClientError | OSError):
        return WarmTransferError(TransferReason.UNREACHABLE, type(error).__name__)
    return error


class TwilioConnectorWarmTransferTask(WarmTransferTask):
    """The warm transfer with Twilio's Calls API and LiveKit's connector in place of a SIP trunk."""

    def __init__(
        self,
        phone_number: str,
        *,
        twilio_from_number: str,
        twilio_account_sid: NotGivenOr[str] = NOT_GIVEN,
        twilio_auth_token: NotGivenOr[str] = NOT_GIVEN,
        twilio_call_token: NotGivenOr[str] = NOT_GIVEN,
        original_caller_number: NotGivenOr[str] = NOT_GIVEN,
        ringing_timeout: NotGivenOr[float | None] = NOT_GIVEN,
        **options: Any,
    ) -> None:
        """The stock task's parameters, with its meanings and defaults.

        Args:
            phone_number: Of the human agent.
            twilio_from_number: The account's number or verified caller ID.
            twilio_account_sid: TWILIO_ACCOUNT_SID when not given.
            twilio_auth_token: TWILIO_AUTH_TOKEN when not given.
            twilio_call_token: CallToken of the caller's own call, from its webhook: the human then sees the caller's number.
                A secret. When Twilio refuses it, `twilio_from_number` is shown.
            original_caller_number: The caller's number; with the token only, and needed there.
            ringing_timeout: Seconds until a phone that nobody answers is given up; 30 when not given.
            options: Every keyword of WarmTransferTask that is not about SIP.

        Raises:
            ValueError: Without credentials, or a token without a number.
        """
        account = TwilioAccount(
            twilio_account_sid if is_given(twilio_account_sid) else os.getenv("TWILIO_ACCOUNT_SID", ""),
            twilio_auth_token if is_given(twilio_auth_token) else os.getenv("TWILIO_AUTH_TOKEN", ""),
        )
        if not account.sid or not account.token:
            raise ValueError(
                "`twilio_account_sid` and `twilio_auth_token`, or the environment variables TWILIO_ACCOUNT_SID and"
                " TWILIO_AUTH_TOKEN, must be set"
            )
        token = twilio_call_token if is_given(twilio_call_token) else ""
        caller = original_caller_number if is_given(original_caller_number) else ""
        if token and not caller:
            raise ValueError("twilio_call_token requires original_caller_number")
        if wrong := sorted(SIP_ONLY & options.keys()):
            raise ValueError(f"{', '.join(wrong)}: only a SIP trunk knows this; use WarmTransferTask")
        self._twilio_line = TwilioLine(account, twilio_from_number, token, caller)
        timeout = ringing_timeout if is_given(ringing_timeout) else RINGING_TIMEOUT
        super().__init__(phone_number, ringing_timeout=timeout, **options)

    def _way_out(self, **_: Any) -> Origination:
        return self._twilio_line
