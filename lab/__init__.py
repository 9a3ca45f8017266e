"""An offline phone lab: a LiveKit-compatible server, SIP telephones and AI services, all on loopback. Development only."""
