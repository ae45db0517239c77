"""Who may ask: users with roles, and API tokens. No secret is stored readable."""
