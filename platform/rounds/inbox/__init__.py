"""Scans that arrive over the network: a private inbox that C-STORE and STOW-RS fill, and pulling from an archive."""
