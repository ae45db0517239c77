"""S3 servers: a client that signs by itself, sends raw keys and streams bodies."""
