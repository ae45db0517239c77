"""Messages to people and to other programs when something has ended: by mail, or by Apprise.

A message is a row, written in the transaction that records what it tells of; a timer sends it
afterwards. Whether it arrives changes nothing for what it tells of.
"""
