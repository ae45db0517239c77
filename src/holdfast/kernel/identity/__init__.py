"""Who may ask: users with roles, and API tokens kept as hashes. Promises that no secret is stored readable."""
