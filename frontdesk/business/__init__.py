"""The owner's words: who we are, when we are open, whom callers are put through to. It knows no LiveKit and no clock."""
