"""The front desk, in floors: `business` holds the owner's words, `voice` speaks on the telephone. Imports go down only."""
