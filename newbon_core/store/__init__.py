"""Keys, revisions, transactions, watches and leases: one protocol, several stores."""
