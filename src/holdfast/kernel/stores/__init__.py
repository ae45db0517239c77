"""Where bytes live: one protocol over memory, a directory, S3 servers and every rclone remote.

`model.py` says what a store is and what it may declare; `transfer.py` has what is done with any two
of them. Each store passes the same contract suite (`tests/contracts/test_store_contract.py`).
"""
