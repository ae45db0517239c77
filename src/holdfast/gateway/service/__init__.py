"""What others may ask of the gateway; each call adds to a transaction of its caller."""
