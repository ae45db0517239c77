"""What a person or another slice may ask of tiers."""
