"""The viewer as its users feel it: how long a plate's page takes, alone, with an archive behind it, and with 50 others."""
