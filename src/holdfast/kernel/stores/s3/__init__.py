"""S3 servers: a client that signs by itself, sends raw keys, streams bodies and keeps memory flat."""
