"""Telephony on loopback: a small SIP stack over UDP, the lab's telephones, and the gateway between them and the rooms."""

from lab.sip.gateway import GatewaySettings, SipGateway
from lab.sip.phones import Answer, Phone, PhoneExchange, Refuse, Ring, Voicemail

__all__ = ["Answer", "GatewaySettings", "Phone", "PhoneExchange", "Refuse", "Ring", "SipGateway", "Voicemail"]
