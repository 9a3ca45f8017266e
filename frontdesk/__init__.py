"""The receptionist: who we are, whom we know, what we say."""
