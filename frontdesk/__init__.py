"""The front desk, in floors: `business` is what the owner wrote, `voice` what speaks on the telephone. Imports go down only."""
